"""Small files as Amazon's hosts publish them, of every year, and the rows that they should become."""

import gzip
import json


def review_2014(user, item, seconds, rating=5.0):
    return {
        "reviewerID": user,
        "asin": item,
        "reviewerName": 'J. "Mac" McDonald',
        "helpful": [2, 3],
        "reviewText": "He is having a wonderful time. \u00e9\nGreat!",
        "overall": rating,
        "summary": "Heavenly",
        "unixReviewTime": seconds,
        "reviewTime": "09 13, 2009",
    }


def review_2018(user, item, seconds, rating=5.0):
    return {
        "overall": rating,
        "verified": True,
        "reviewTime": "09 13, 2009",
        "reviewerID": user,
        "asin": item,
        "style": {"Size:": " 7.0 oz", "Flavor:": " Classic"},
        "reviewerName": "Mom",
        "reviewText": 'It said {"asin": "B5"}',
        "summary": "Good",
        "unixReviewTime": seconds,
    }


def review_2023(user, item, seconds, rating=5.0):
    return {
        "rating": rating,
        "title": "Such a lovely scent",
        "text": "It smells\nnice",
        "images": [],
        "asin": f"{item}-RED",
        "parent_asin": item,
        "user_id": user,
        "timestamp": seconds * 1000 + 271,
        "helpful_vote": 0,
        "verified_purchase": True,
    }


# The apostrophe makes Python write the first title in double quotes. B2 is wanted and stands in B1's `related`; B3 has
# no title; B5 has no line.
META_2014 = [
    {"asin": "B1", "title": "Girl's Tutu", "price": 3.17, "imUrl": "http://ecx.images-amazon.com/images/I/51f.jpg",
     "related": {"also_bought": ["B2", "B3"], "also_viewed": ["B9"]}, "salesRank": {"Toys & Games": 211836},
     "brand": "Coxlures", "categories": [["Sports & Outdoors", "Girls' Dance"], ["Toys"]]},
    {"asin": "B9", "title": "Nobody's", "categories": [["Toys"]], "related": {"also_bought": ["B1"]}},
    {"asin": "B2", "title": 'Tutu "Zebra"', "description": "Pink.", "categories": [["Clothing"]]},
    {"asin": "B3", "imUrl": "http://ecx.images-amazon.com/images/I/52f.jpg", "categories": [["Clothing"]]},
    {"asin": "B4", "title": "Plain", "categories": [[]]},
]  # fmt: skip
ROWS_2014 = [
    ("B1", "Girl's Tutu", "", ["Sports & Outdoors", "Girls' Dance"], "Coxlures"),
    ("B2", 'Tutu "Zebra"', "Pink.", ["Clothing"], ""),
    ("B3", "", "", ["Clothing"], ""),
    ("B4", "Plain", "", [], ""),
    ("B5", "", "", [], ""),
]


def meta_2018(item, title, **changed):
    return {
        "category": ["Grocery", "Cooking & Baking"],
        "tech1": "",
        "description": ["Sweet.", "And hot."],
        "fit": "",
        "title": title,
        "also_buy": ["B2", "B9"],
        "tech2": "",
        "brand": "Ziploc",
        "feature": ["0.25 pounds"],
        "rank": "27,955 in Grocery (",
        "also_view": [],
        "main_cat": "Grocery",
        "similar_item": "",
        "date": "",
        "price": "$4.50",
        "asin": item,
        "imageURL": [],
        "imageURLHighRes": [],
    } | changed


SCRIPT = "var aPageStart = (new Date()).getTime();\nvar ue_t0=ue_t0||+new Date();"
META_2018 = [
    meta_2018("B1", "Slider Bags"),
    meta_2018("B1", "Slider Bags, once more", brand="Other"),
    meta_2018("B9", "Nobody's"),
    meta_2018("B2", SCRIPT, description=[]),
    meta_2018("B3", "", category=[]),
    meta_2018("B4", "Salt"),
]
ROWS_2018 = [
    ("B1", "Slider Bags", "Sweet. And hot.", ["Grocery", "Cooking & Baking"], "Ziploc"),
    ("B2", "", "", ["Grocery", "Cooking & Baking"], "Ziploc"),
    ("B3", "", "Sweet. And hot.", [], "Ziploc"),
    ("B4", "Salt", "Sweet. And hot.", ["Grocery", "Cooking & Baking"], "Ziploc"),
    ("B5", "", "", [], ""),
]


def meta_2023(item, title, **changed):
    return {
        "main_category": "All Beauty",
        "title": title,
        "average_rating": 4.8,
        "rating_number": 10,
        "features": ["A"],
        "description": ["Clean.", "Fast."],
        "price": 24.99,
        "images": [{"thumb": "https://m.jpg", "hi_res": None}],
        "videos": [],
        "store": "Howard",
        "categories": ["Beauty", "Hair"],
        "details": {"Brand Name": "Howard LC"},
        "parent_asin": item,
        "bought_together": None,
    } | changed


META_2023 = [
    meta_2023("B1", "Howard\u2019s Polish"),
    meta_2023("B9", "Nobody's"),
    meta_2023("B2", "Yes to Tomatoes", store=None, description=[], categories=[]),
    meta_2023("B3", None),
    meta_2023("B4", "Comb", details={"Item": 'says {"parent_asin": "B5"}'}),
]
ROWS_2023 = [
    ("B1", "Howard\u2019s Polish", "Clean. Fast.", ["Beauty", "Hair"], "Howard"),
    ("B2", "Yes to Tomatoes", "", [], ""),
    ("B3", "", "Clean. Fast.", ["Beauty", "Hair"], "Howard"),
    ("B4", "Comb", "Clean. Fast.", ["Beauty", "Hair"], "Howard"),
    ("B5", "", "", [], ""),
]

# Four users who each reviewed all five items; the first review is there twice.
EVENTS = [
    (f"A{user}", f"B{item}", 1_252_800_000 + 100 * user + item, 1.0 + item % 5)
    for user in range(4)
    for item in range(1, 6)
]
YEARS = {
    "2014": ("reviews_Toys_5.json.gz", review_2014, "meta_Toys.json.gz", META_2014, repr, ROWS_2014),
    "2018": ("Toys_5.json.gz", review_2018, "meta_Toys.json.gz", META_2018, json.dumps, ROWS_2018),
    "2023": ("Toys.jsonl.gz", review_2023, "meta_Toys.jsonl.gz", META_2023, json.dumps, ROWS_2023),
    "2023 unpacked": ("Toys.jsonl", review_2023, "meta_Toys.jsonl", META_2023, json.dumps, ROWS_2023),
}


def write_lines(path, lines):
    """A file, packed if its name says so; its path as text."""
    data = "".join(line + "\n" for line in lines).encode()
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)
    return str(path)


def publish(folder, year):
    """The paths of a reviews file and its metadata file."""
    reviews, review, meta, items, written, _ = YEARS[year]
    lines = [json.dumps(review(*event)) for event in [EVENTS[0], *EVENTS]]
    return write_lines(folder / reviews, lines), write_lines(folder / meta, map(written, items))

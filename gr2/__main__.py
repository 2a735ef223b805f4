from gr2.cli import main

main()

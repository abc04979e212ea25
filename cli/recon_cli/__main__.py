"""`python -m recon_cli`."""

from recon_cli.entry import main


if __name__ == "__main__":
    main()

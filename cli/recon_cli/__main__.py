"""`python -m recon_cli`."""

from recon_cli.app import main


if __name__ == "__main__":
    main()

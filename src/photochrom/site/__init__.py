"""The page as a static site, which colorizes in the browser: `photochrom site`.

`files.py` makes its files; `writing.py` writes them into a folder. The folder `bundle`, with the
scripts and WebAssembly modules, is built from `site/` of the source tree by `npm run build`.
"""

"""One cycle over one config repo: observe, decide, rewrite, publish, announce.

`run` is the page that tells the story; the other modules are its stages. Everything kept between
cycles is a cache: losing it costs time, never a release.
"""

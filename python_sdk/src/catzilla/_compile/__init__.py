"""Routes of a FastAPI app as flat functions: what takes the fast lane, and why the rest does not.

    contexts --_plan--> Plan or a reason --_emit--> source --> Compiled: prepare() and run()

FastAPI's own analysis of a route (its effective context, dependants and fields) is the only source of what is
compiled; nothing of a signature is read again. The answers are those of the genuine app, byte for byte.
"""

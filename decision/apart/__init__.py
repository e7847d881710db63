"""The jobs in a process of their own, so that what they compute never keeps a request from its answer.

    nextplay serve ──fork──► nursery ──fork──► the jobs' process ──► VW's process
       │  ▲                 (no threads)          │   ▲
       │  └───────── channel: what to run ────────┘   │
       └─────────── turns of the one writer ──────────┘

`nursery` forks, `messages` is what both sides say, `supervisor` is the side of the server, `jobs_process` the
other one.
"""

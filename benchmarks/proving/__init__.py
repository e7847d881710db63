"""Tasks whose truth is known: do estimates cover it, and does proof put the better policy in charge?"""

"""The wallet: coupons from their issue to their redemption, and the API that shops ask at the checkout."""

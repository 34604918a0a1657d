"""The composition root: configuration → adapters → reconcilers → runtime. Only here do they meet."""

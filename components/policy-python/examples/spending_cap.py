"""No payer spends more than a cap on one action, and pays only with assets that are listed.

A rule has no memory: it sees one action at a time, so this caps each charge, not a day's or a payer's total. What must
add up over time belongs to the payment component's settings, or to the payer's own wallet.
"""

# (chain, asset) → the most that one action may cost, in the asset's smallest unit. The asset is a token's contract.
CAPS = {
    ("eip155:8453", "0x833589fcd6edb6e08f4c7c32d4f71b54bda02913"): 5_000_000,  # USDC on Base: 5 dollars
    ("eip155:84532", "0x036cbd53842c5426634e7929541ec2318f3dcf7e"): 100_000_000,  # USDC on Base Sepolia: test money
}

# Payers with a cap of their own, whatever the asset: more for a partner, 0 for one who is not served.
PAYERS = {
    "0x00000000000000000000000000000000000000aa": 50_000_000,
    "0x00000000000000000000000000000000000000bb": 0,
}


def authorize(action: Action) -> Decision:
    """Allows what is free, and what costs no more than the cap."""
    charge = action.charge
    if charge is None:
        return True
    cap = CAPS.get((charge.chain, charge.asset.lower()))
    if cap is None:
        return Deny(f"{charge.asset} on {charge.chain} is not accepted here")
    cap = PAYERS.get(charge.payer.lower(), cap)
    if charge.amount > cap:
        return Deny(f"{charge.amount} is above the cap of {cap} for one action")
    return True

/**
 * Seeds that once found a fault, and the fault. A seed stands for an interleaving only while the draws before it stay
 * the same. They still run, like any other seeds.
 */
export const failedSeeds: [number, string][] = [
  [3, 'cursors of the source were taken for the target’s when a move was reversed twice'],
  [25, 'a move that was reversed a second time was prepared as if the target had no rows'],
  [204, 'the same, after a lost answer of the commit'],
  [2420, 'an abandoned sign-up revoked the token that its retry had received'],
  [4281, 'the same'],
  [5021, 'turns that ended before their first step, so a verification never continued'],
  [96951, 'a late commit, after which a tail was carried again to the owner; the checker took it for a loss'],
  [169, 'turns that ended in the cutover before the fence, so the tail was carried from the same place forever'],
  [294, 'the same'],
  [
    2489,
    'a mail whose attempts were used up by faults within 40 s, because the simulation shortens the waits between them',
  ],
  [
    3035,
    'a purge with a slot changed by hand until the other slots were deleted; no operator carried out the offered choice',
  ],
  [
    3157,
    'a bar dated by a slow clock was deleted before a late sign-up, because the simulation kept bars for less than clocks differ',
  ],
  [
    9803,
    'a full disk whose answer reached a frozen isolate after the router had stopped waiting; the checker expected it to know',
  ],
  [15428, 'a slot that was returned to a move just when it ended; no operator read that slots had been left'],
]

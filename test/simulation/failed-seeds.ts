/**
 * Seeds that once found something, and what it was. A seed stands for an interleaving only as long as nothing changes what
 * is drawn before it; they are run all the same, as seeds like any other.
 */
export const failedSeeds: [number, string][] = [
  [3, 'cursors of the source were taken for the target’s when a move was turned round twice'],
  [25, 'a move that was turned round a second time was prepared as if the target had no rows'],
  [204, 'the same, after a lost answer of the commit'],
  [2420, 'a sign-up that its client had given up took the token away that the retry had got'],
  [4281, 'the same'],
  [5021, 'turns that ended before their first step: a verification that never went on'],
  [
    96951,
    'a commit that arrived late, and a tail that was carried once more to the owner: the checker took it for a loss',
  ],
  [169, 'turns that ended in the cutover before the fence: the tail was carried from the same place for ever'],
  [294, 'the same'],
  [2489, 'a mail whose attempts faults used up within 40 s: the simulation shortens the waits between them'],
  [
    3035,
    'a purge whose slot was changed by hand until the others were forgotten: nobody carried out the choice that it offers',
  ],
  [
    3157,
    'a bar that a slow clock dated was deleted before a late sign-up came: the simulation kept bars for less than clocks differ',
  ],
  [
    9803,
    'a full disk whose answer met a frozen isolate when the router had stopped waiting: the checker expected it to know',
  ],
  [15428, 'a slot that was given back to a move at the moment when it ended: nobody read that slots were left'],
]

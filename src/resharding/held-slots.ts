import { present } from '../core/present.ts'
import { SLOT_COUNT } from '../sharding/shard-map.ts'
import type { Keyspace } from '../sharding/sharded-table.ts'
import type { MoveTable, SlotHold } from './move-table.ts'
import { isBeforeCommit, type SlotRange, slotNumber } from './record.ts'

/** The open move that holds each slot. Read once per operation, however many moves it plans. */
export class HeldSlots {
  readonly #table: MoveTable
  /** `holders` has the number of the move that holds each slot, or 0 if none does. */
  readonly #held = new Map<Keyspace, { holders: Uint32Array; holds: SlotHold[] }>()

  constructor(table: MoveTable) {
    this.#table = table
  }

  /** The number of a move that holds one of these slots, or null. */
  holderOf(keyspace: Keyspace, ranges: SlotRange[]): number | null {
    const { holders } = this.#of(keyspace)
    for (const [first, last] of ranges)
      for (let slot = slotNumber(first); slot <= slotNumber(last); slot++) {
        const holder = holders[slot] ?? 0
        if (holder !== 0) return holder
      }
    return null
  }

  add(number: number, keyspace: Keyspace, ranges: SlotRange[]): void {
    const { holders } = this.#of(keyspace)
    for (const [first, last] of ranges) holders.fill(number, slotNumber(first), slotNumber(last) + 1)
  }

  /**
   * Marks held slots, and assigns slots of unfinished moves to their targets, assuming that these moves succeed.
   * `ordinals` has each shard's index.
   */
  foresee(keyspace: Keyspace, owners: Uint16Array, held: Uint8Array, ordinals: ReadonlyMap<string, number>): void {
    const { holders, holds } = this.#of(keyspace)
    holders.forEach((holder, slot) => {
      if (holder !== 0) held[slot] = 1
    })
    for (const hold of holds)
      if (isBeforeCommit(hold) && !hold.ending)
        for (const [first, last] of hold.ranges)
          owners.fill(
            present(ordinals.get(hold.target), `the shard ${hold.target}`),
            slotNumber(first),
            slotNumber(last) + 1,
          )
  }

  #of(keyspace: Keyspace) {
    const known = this.#held.get(keyspace)
    if (known) return known
    const holders = new Uint32Array(SLOT_COUNT)
    const holds = this.#table.holds(keyspace)
    for (const { number, ranges } of holds)
      for (const [first, last] of ranges) holders.fill(number, slotNumber(first), slotNumber(last) + 1)
    const held = { holders, holds }
    this.#held.set(keyspace, held)
    return held
  }
}

import { isBeforeCommit, isOver, slotAfter } from '../../src/resharding/record.ts'
import type { Keyspace } from '../../src/sharding/sharded-table.ts'
import type { Shard, World } from './world.ts'

const BY_HAND = 'changed by hand'

/** A slot that an operator assigned to a move that does not exist. */
interface Meddled {
  shard: Shard
  keyspace: Keyspace
  slot: string
  moveId: string
}

/**
 * An operator who changes slots of open moves by hand, so that movers find a mixture, and who repairs them later. Only
 * slots that take no writes are changed, because no program can undo such a change to the others.
 */
export class Meddling {
  readonly #world: World
  readonly #open = new Set<Meddled>()
  /** Returned to a move that had not ended yet. */
  readonly #givenBack: Meddled[] = []

  constructor(world: World) {
    this.#world = world
  }

  /** True if there was such a slot. */
  meddle(repairsAfterMs: number): boolean {
    const { scheduler, shards, checker, directory } = this.#world
    // A move before its commit fails because of it, so it is no longer interesting.
    const failsMoves = scheduler.chance(0.1)
    const slots = shards
      .flatMap((shard) =>
        (checker.ask(shard, FIND).all(BY_HAND) as unknown as Omit<Meddled, 'shard'>[]).map((slot) => ({
          ...slot,
          shard,
        })),
      )
      .filter(({ moveId }) => failsMoves || !isBeforeCommit(directory.records.find(moveId)!))
    if (slots.length === 0) return false
    const meddled = scheduler.pick(slots)
    const { shard, keyspace, slot } = meddled
    if (shard.replicated?.isPrimaryLost) return false
    const assign = 'UPDATE slots SET move_id = ? WHERE keyspace = ? AND slot = ?'
    this.#world.byHand(shard, assign, BY_HAND, keyspace, slot)
    this.#world.note(() => `by hand: ${keyspace} ${slot} at ${shard.id} is of ${meddled.moveId} no more`)
    this.#open.add(meddled)
    scheduler.after(repairsAfterMs, () => this.#repair(meddled))
    return true
  }

  repairAll(): void {
    for (const meddled of this.#open) this.#repair(meddled)
  }

  /**
   * Runs once everything is over. A move that was just ending does not see what was returned to it, and its record says
   * that slots were not changed. An operator who reads that repairs them.
   */
  lookAfterLeft(): void {
    for (const meddled of this.#givenBack) {
      const { shard, keyspace, slot, moveId } = meddled
      const isLeft = shard.sqlite
        .prepare('SELECT 1 FROM slots WHERE keyspace = ? AND slot = ? AND move_id = ?')
        .get(keyspace, slot, moveId)
      const { state, leftAlone, error } = this.#world.directory.records.find(moveId)!
      if (!isLeft || !isOver({ state })) continue
      if (leftAlone === null && !error?.includes('left as they are'))
        this.#world.checker.report(`M6: ${moveId} left ${slot} at ${shard.id} without reporting it`)
      this.#settle(meddled)
    }
  }

  /** Raises the step, so that a running mover checks again. */
  #repair(meddled: Meddled): void {
    const { shard, keyspace, slot, moveId } = meddled
    const { directory, scheduler } = this.#world
    if (shard.replicated?.isPrimaryLost) return void scheduler.after(200, () => this.#repair(meddled))
    if (!this.#open.delete(meddled)) return
    const state = stateAt(meddled)
    this.#world.note(() => `by hand: ${keyspace} ${slot} at ${shard.id} is repaired (${state})`)
    if (state === null) return
    this.#world.byHand(shard, 'UPDATE mover SET step = step + 1 WHERE id = 1')
    const set = (become: string, owner: string | null) => {
      const update = 'UPDATE slots SET state = ?, move_id = ? WHERE keyspace = ? AND slot = ?'
      this.#world.byHand(shard, update, become, owner, keyspace, slot)
    }
    const move = directory.records.find(moveId)!
    const isSource = move.source.id === shard.id
    if (!isOver(move)) {
      // A reverse that was undone left it unchanged.
      const isLeft = state === 'importing' && isSource && (move.state === 'settling' || move.state === 'purging')
      set(isLeft ? 'moved' : state, moveId)
      this.#givenBack.push(meddled)
    } else this.#settle(meddled)
  }

  /** For a move that has ended. */
  #settle(meddled: Meddled): void {
    const { shard, keyspace, slot } = meddled
    const activate = "UPDATE slots SET state = 'active', move_id = NULL WHERE keyspace = ? AND slot = ?"
    if (this.#world.checker.ownerOf(keyspace, slot).id === shard.id) this.#world.byHand(shard, activate, keyspace, slot)
    else this.#forget(meddled)
  }

  #forget({ shard, keyspace, slot }: Meddled): void {
    const byHand = (sql: string, ...values: unknown[]) => this.#world.byHand(shard, sql, ...values)
    byHand('UPDATE mover SET open = 1 WHERE id = 1')
    for (const { name, key } of this.#world.template.tables[keyspace])
      byHand(`DELETE FROM "${name}" WHERE "${key[0]}" >= ? AND "${key[0]}" < ?`, slot, slotAfter(slot))
    byHand('UPDATE mover SET open = 0 WHERE id = 1')
    byHand('DELETE FROM slots WHERE keyspace = ? AND slot = ?', keyspace, slot)
  }
}

const FIND = `SELECT keyspace, slot, move_id AS moveId FROM slots
  WHERE state IN ('moved', 'importing', 'fenced') AND move_id <> ?`

function stateAt({ shard, keyspace, slot }: Meddled): string | null {
  const found = shard.sqlite
    .prepare('SELECT state FROM slots WHERE keyspace = ? AND slot = ? AND move_id = ?')
    .get(keyspace, slot, BY_HAND) as { state: string } | undefined
  return found?.state ?? null
}

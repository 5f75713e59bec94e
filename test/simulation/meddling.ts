import { isBeforeCommit, isOver, slotAfter } from '../../src/resharding/record.ts'
import type { Keyspace } from '../../src/sharding/sharded-table.ts'
import type { Shard, World } from './world.ts'

const BY_HAND = 'changed by hand'

/** A slot that a person gave to a move that there isn't. */
interface Meddled {
  shard: Shard
  keyspace: Keyspace
  slot: string
  moveId: string
}

/**
 * A person who changes slots of open moves by hand, so that movers find a mixture; and who puts them right later. Only slots
 * that take no writes are changed, since what such a person does to others no program can undo.
 */
export class Meddling {
  readonly #world: World
  readonly #open = new Set<Meddled>()
  /** Given back to a move that was not over yet. */
  readonly #givenBack: Meddled[] = []

  constructor(world: World) {
    this.#world = world
  }

  /** True when there was such a slot. */
  meddle(repairsAfterMs: number): boolean {
    const { scheduler, shards, checker, directory } = this.#world
    // Before the commit a move fails for it, and nothing more can be learnt from that one.
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
    shard.sqlite.prepare('UPDATE slots SET move_id = ? WHERE keyspace = ? AND slot = ?').run(BY_HAND, keyspace, slot)
    this.#world.note(() => `by hand: ${keyspace} ${slot} at ${shard.id} is of ${meddled.moveId} no more`)
    this.#open.add(meddled)
    scheduler.after(repairsAfterMs, () => this.#repair(meddled))
    return true
  }

  repairAll(): void {
    for (const meddled of this.#open) this.#repair(meddled)
  }

  /**
   * Once all is over. A move that was just ending does not see what it is given back, and its record says that slots were
   * left as they are: whoever reads that looks after them.
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
        this.#world.checker.report(`M6: ${moveId} left ${slot} at ${shard.id}, and says nothing of it`)
      this.#settle(meddled)
    }
  }

  /** The step is raised, so that a mover at work looks again. */
  #repair(meddled: Meddled): void {
    if (!this.#open.delete(meddled)) return
    const { shard, keyspace, slot, moveId } = meddled
    const { directory } = this.#world
    const state = stateAt(meddled)
    this.#world.note(() => `by hand: ${keyspace} ${slot} at ${shard.id} is put right (${state})`)
    if (state === null) return
    shard.sqlite.exec('UPDATE mover SET step = step + 1 WHERE id = 1')
    const set = (become: string, owner: string | null) =>
      shard.sqlite
        .prepare('UPDATE slots SET state = ?, move_id = ? WHERE keyspace = ? AND slot = ?')
        .run(become, owner, keyspace, slot)
    const move = directory.records.find(moveId)!
    const isSource = move.source.id === shard.id
    if (!isOver(move)) {
      // A reverse that came to nothing left it as it was.
      const isLeft = state === 'importing' && isSource && (move.state === 'settling' || move.state === 'purging')
      set(isLeft ? 'moved' : state, moveId)
      this.#givenBack.push(meddled)
    } else this.#settle(meddled)
  }

  /** Of a move that is over. */
  #settle(meddled: Meddled): void {
    const { shard, keyspace, slot } = meddled
    const activate = "UPDATE slots SET state = 'active', move_id = NULL WHERE keyspace = ? AND slot = ?"
    if (this.#world.checker.ownerOf(keyspace, slot).id === shard.id) shard.sqlite.prepare(activate).run(keyspace, slot)
    else this.#forget(meddled)
  }

  #forget({ shard, keyspace, slot }: Meddled): void {
    shard.sqlite.exec('UPDATE mover SET open = 1 WHERE id = 1')
    for (const { name, key } of this.#world.template.tables[keyspace])
      shard.sqlite
        .prepare(`DELETE FROM "${name}" WHERE "${key[0]}" >= ? AND "${key[0]}" < ?`)
        .run(slot, slotAfter(slot))
    shard.sqlite.exec('UPDATE mover SET open = 0 WHERE id = 1')
    shard.sqlite.prepare('DELETE FROM slots WHERE keyspace = ? AND slot = ?').run(keyspace, slot)
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

import type { SentAnswer, SentCall } from '../support/d1-binding.ts'
import { type Copy, type Member, onlyReads, ReplicatedDatabase, wanderingLag } from '../support/replicated-database.ts'
import { FLEETING } from './checker.ts'
import type { SimulatedShard } from './database.ts'
import { newPlace, type Place } from './network.ts'
import type { RowLog } from './row-log.ts'
import { REPLICAS_MAX } from './scale.ts'
import type { Scheduler } from './scheduler.ts'
import { STRANGE_TABLE } from './strange-rows.ts'
import type { TemplateShard } from './template.ts'

type Through = (execute: () => D1Result<unknown>[]) => D1Result<unknown>[]

/** A database as a copy of a shard. */
class HostedCopy implements Copy {
  host: SimulatedShard

  constructor(host: SimulatedShard) {
    this.host = host
  }

  execute({ statements, shape }: Omit<SentCall, 'start'>): D1Result<unknown>[] {
    return this.host.execute({ statements }, shape)
  }
}

/** A shard with one to three lagging replicas, which answer although the shard itself is unavailable. */
export class ReplicatedShard {
  readonly replication: ReplicatedDatabase
  readonly #shard: TemplateShard
  readonly #scheduler: Scheduler
  readonly #place: Place
  readonly #copies: Map<Member, HostedCopy>
  /** Positions in the log of calls whose loss loses nothing but what the checker watches. */
  readonly #dispensable = new Set<number>()
  #next: Member | null = null

  constructor(shard: TemplateShard, scheduler: Scheduler, lagMsMax: number) {
    const clock = { now: () => scheduler.now(), sleep: (ms: number) => scheduler.sleep(ms) }
    const { random } = scheduler
    this.#shard = shard
    this.#scheduler = scheduler
    this.#place = newPlace(`replicas of ${shard.id}`)
    const copies = shard.replicas.slice(0, scheduler.between(1, REPLICAS_MAX)).map((replica) => new HostedCopy(replica))
    this.replication = new ReplicatedDatabase(new HostedCopy(shard.simulated), copies, {
      clock,
      random,
      lagMs: wanderingLag({ clock, random }, lagMsMax),
      choose: (members) => scheduler.pick(members),
      rewind: (copy) => (copy as HostedCopy).host.reset(),
    })
    this.#copies = new Map(this.replication.replicas.map((replica, index) => [replica, copies[index]!]))
  }

  get replicas(): readonly Member[] {
    return this.replication.replicas
  }

  get isPrimaryLost(): boolean {
    return this.replication.isPrimaryLost
  }

  /** Where a call goes to. */
  placeOf(call: SentCall, primary: Place): Place {
    const { start } = call
    if (start === null || start === 'first-primary') return primary
    return onlyReads(call) ? this.#place : primary
  }

  ask(call: SentCall, through: Through): Promise<SentAnswer> {
    return this.replication.ask(call, (execute) => {
      // An earlier call at this position wrote nothing, or is lost.
      this.#dispensable.delete(this.replication.log.length)
      return through(execute as () => D1Result<unknown>[])
    })
  }

  /** The primary has executed a call, which its log will have at the returned position if it wrote. */
  committing(process: string, step: string, { rows, turned }: RowLog): { position: number } {
    const position = this.replication.log.length
    const isLossHarmless =
      !process.startsWith('mover') &&
      rows.length > 0 &&
      turned.length === 0 &&
      rows.every(({ table, key }) => isDispensable(step, table, key))
    if (isLossHarmless) this.#dispensable.add(position)
    return { position }
  }

  /** True if the end of the log is lost. With `mayLose`, a replica whose promotion loses something is preferred. */
  losePrimary(mayLose: boolean): boolean {
    const { log } = this.replication
    const lossy = this.replicas.find((replica) => {
      const from = this.replication.receivedBy(replica)
      return mayLose && from < log.length && log.slice(from).every((_, index) => this.#dispensable.has(from + index))
    })
    this.replication.losePrimary({ keepsLog: !lossy })
    this.#next = lossy ?? this.#scheduler.pick(this.replicas)
    return lossy !== undefined
  }

  /** The shard's own database gets the promoted state, because the checker reads it. */
  async promote(): Promise<{ lost: number; isEqual: boolean }> {
    const next = this.#next!
    const lost = await this.replication.promote(next)
    const promoted = this.#copies.get(next)!
    const { simulated, changed } = this.#shard
    simulated.reset()
    for (const { statements } of this.replication.log) simulated.execute({ statements })
    changed.clear()
    const isEqual = contentOf(simulated) === contentOf(promoted.host)
    promoted.host = simulated
    this.#copies.delete(next)
    return { lost: lost.length, isEqual }
  }

  /** True if every replica that has caught up equals the primary. */
  async areEqual(): Promise<boolean> {
    await this.replication.catchUp()
    const content = contentOf(this.#shard.simulated)
    return [...this.#copies.values()].every(({ host }) => contentOf(host) === content)
  }
}

/** Rows that the checker watches, and what goes with them. The loss of any other row needs an operator. */
function isDispensable(step: string, table: string, key: string): boolean {
  if (table === 'posts' || table === 'idempotency_keys' || table === 'password_attempts') return true
  if (table === 'sessions') return step === 'sessions.seen'
  if (table === 'profiles' && step.startsWith('posts.')) return true
  return (table === STRANGE_TABLE || table === FLEETING) && key.includes('.')
}

/** Most slots never change. An INSERT of no row, which is not replayed, leaves a sequence of 0. */
const contents: Record<string, string> = {
  slots: "SELECT * FROM slots WHERE state <> 'active' OR move_id IS NOT NULL OR epoch > 1",
  sqlite_sequence: 'SELECT * FROM sqlite_sequence WHERE seq > 0 ORDER BY name',
}

function contentOf(database: SimulatedShard): string {
  const rows = (sql: string) => database.execute({ statements: [{ sql, values: [] }] }, 'arrays')[0]!.results
  const tables = rows("SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY name").slice(1) as [string][]
  return JSON.stringify(tables.map(([table]) => [table, rows(contents[table] ?? `SELECT * FROM "${table}"`)]))
}

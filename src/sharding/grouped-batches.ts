import { eachAtMost } from '../core/bounded.ts'
import { BanyanError } from '../core/errors.ts'
import { slotOf } from '../core/ids.ts'
import { limits } from '../core/limits.ts'
import { backoffMs } from '../core/random.ts'
import { type Answer, isUnapplied, OutcomeUnknownError } from './answers.ts'
import { type AnswersOf, answersByName, type NamedBatch, statementsOf } from './named-batch.ts'
import {
  answerOrRefusal,
  isSlotRefusal,
  refusalOf,
  refuseUnlessOwned,
  type SlotRefusalCode,
  shardUnknown,
  slotRefused,
  stateRefusal,
  timeRefusal,
  typedError,
  unavailable,
} from './refusals.ts'
import { primaryOf } from './replica-calls.ts'
import { mapAfter, mapWith, observed, type Routing } from './routing.ts'
import { type ShardEntry, type ShardMap, unassigned } from './shard-map.ts'
import type { Keyspace } from './sharded-table.ts'

/** An item that concerns one slot, given by the first four characters of its key. */
export interface Slotted {
  key: string
}

export interface GroupOptions {
  keyspace: Keyspace
  operation: string
  /** The batches only read. They also work on a read-only shard, and a lost answer leaves nothing unknown. */
  isRead?: boolean
}

/** Prepares the statements of a batch. */
export type GroupDatabase = Pick<D1Database, 'prepare'>

/**
 * Builds the statements for some of the items, all of one shard. It is called again when items are regrouped. The
 * statements must concern only these items' slots, and must be harmless if applied twice.
 */
export type BuildBatch<I, Batch extends NamedBatch> = (database: GroupDatabase, items: I[]) => Batch

export interface GroupOutcome<I, Batch extends NamedBatch> {
  /** The items whose batch was applied. */
  done: I[]
  /** The answers of the applied batches. */
  answers: AnswersOf<Batch>[]
  /**
   * The other items, each with the reason. OUTCOME_UNKNOWN: the batch may have been applied. BATCH_REFUSED: it is not
   * known whether this item caused the refusal. Sending the items that failed this way again makes progress.
   */
  failed: Map<I, BanyanError>
}

interface Refused<I> {
  item: I
  code: SlotRefusalCode
}

/** Fires the trigger of the single guard once per slot. */
const GUARD = 'INSERT INTO slot_guard (keyspace, slot) SELECT ?, value FROM json_each(?)'
const STATES =
  'SELECT slot, state FROM slots WHERE keyspace = ? AND slot IN (SELECT value FROM json_each(?)) ORDER BY slot'

/**
 * Batches for many slots. The items of one shard go in one atomic batch, which starts with a guard for all their slots.
 * A refused item does not fail the others. After a slot's refusal, the shard is asked which slots it serves. Their
 * items are sent at once, and the others with a newer map or after a wait. After any other refusal, the batch is
 * halved. Reads are therefore exact. A batch whose answer is lost is sent again, so batches must be idempotent.
 */
export class GroupedBatches<I extends Slotted, Batch extends NamedBatch> {
  readonly #routing: Routing
  readonly #options: GroupOptions
  readonly #build: BuildBatch<I, Batch>
  readonly #done: I[] = []
  readonly #answers: AnswersOf<Batch>[] = []
  readonly #failed = new Map<I, BanyanError>()
  readonly #maybeApplied = new Map<I, OutcomeUnknownError>()
  #batches = 0
  #deadline = 0

  constructor(routing: Routing, options: GroupOptions, build: BuildBatch<I, Batch>) {
    this.#routing = routing
    this.#options = options
    this.#build = build
  }

  async run(items: I[]): Promise<GroupOutcome<I, Batch>> {
    const { clock, holder, request, atLeastEpoch } = this.#routing
    this.#deadline = clock.now() + limits.routeBudgetMs
    const { keyspace } = this.#options
    let waiting = items
    let map: ShardMap | null = null
    if (waiting.length > 0) {
      const current = await holder.current(request, atLeastEpoch)
      map = await mapWith(this.#routing, keyspace, current.map, this.#deadline)
      if (!map) this.#giveUp(waiting, unassigned(keyspace))
    }
    for (let attempt = 0; map && waiting.length > 0; attempt++) {
      const refused = await this.#sendAll(waiting, map)
      waiting = refused.map(({ item }) => item)
      if (refused.length === 0) break
      map = await mapAfter(this.#routing, gravest(refused), { map, attempt, deadline: this.#deadline })
      if (!map) for (const { item, code } of refused) this.#giveUp([item], slotRefused(code))
    }
    return { done: this.#done, failed: this.#failed, answers: this.#answers }
  }

  /** Sends one batch per shard, a few shards at a time. Resolves to the items refused because of their slots. */
  async #sendAll(items: I[], map: ShardMap): Promise<Refused<I>[]> {
    const groups = Map.groupBy(items, (item) => map.ownerOf(this.#options.keyspace, slotOf(item.key)))
    const refused: Refused<I>[] = []
    await eachAtMost(limits.shardsAtOnceMax, [...groups], async ([shard, ofShard]) => {
      for (let start = 0; start < ofShard.length; start += limits.groupItemsMax)
        refused.push(...(await this.#send(shard, ofShard.slice(start, start + limits.groupItemsMax))))
    })
    return refused
  }

  async #send(shard: ShardEntry, items: I[]): Promise<Refused<I>[]> {
    const database = this.#routing.shards.get(shard.binding)
    if (!database) return this.#giveUp(items, shardUnknown(shard))
    for (let failures = 0; ; ) {
      const refusal = stateRefusal(shard, this.#kind) ?? timeRefusal(this.#routing)
      if (refusal) return this.#giveUp(items, refusal)
      const { clock, random } = this.#routing
      const outcome = await this.#batch(shard, database, items)
      if ('value' in outcome) {
        this.#done.push(...items)
        this.#answers.push(outcome.value)
        return []
      }
      const answer = answerOrRefusal(outcome.error)
      if (isSlotRefusal(answer)) return this.#sendServed(shard, database, items, answer.code)
      const isLast = ++failures > limits.readRetriesMax || clock.now() >= this.#deadline
      if (answer.kind === 'transient' && this.#kind === 'exact-read') {
        if (isLast) return this.#fail(items, unavailable(shard, this.#kind, outcome.error))
      } else if (answer.kind === 'transient') {
        const unknown = new OutcomeUnknownError(outcome.error)
        for (const item of items) this.#maybeApplied.set(item, unknown)
        if (isLast) return this.#fail(items, unknown)
      } else if (answer.kind !== 'overloaded' || isLast) {
        return this.#halve(shard, items, answer, outcome.error)
      }
      await clock.sleep(backoffMs(random, failures, limits.readRetryBaseMs, limits.routeBackoffCapMs))
    }
  }

  #batch(
    shard: ShardEntry,
    database: D1Database,
    items: I[],
  ): Promise<{ value: AnswersOf<Batch> } | { error: unknown }> {
    this.#batches++
    const { connection, noted } = primaryOf(this.#routing, shard, database, this.#kind)
    const batch = this.#build(connection, items)
    const statements = statementsOf<D1PreparedStatement>(batch)
    const isRead = this.#kind === 'exact-read'
    const guard = connection.prepare(isRead ? STATES : GUARD).bind(this.#options.keyspace, slotsOf(items))
    const call = this.#call(shard, statements.length)
    const send = async () => {
      const [guarded, ...answers] = await noted(connection.batch<never>([guard, ...statements]))
      if (isRead) refuseUnlessServed(items, guarded)
      return answersByName(batch, answers.values())
    }
    return observed(this.#routing, call, send, limits.shardCallMs)
  }

  /**
   * The guard does not name the refused slot. The served slots are only a hint, because the batch of their items is
   * guarded again.
   */
  async #sendServed(shard: ShardEntry, database: D1Database, items: I[], code: SlotRefusalCode): Promise<Refused<I>[]> {
    const [item] = items
    if (item !== undefined && items.length === 1) return [{ item, code }]
    const ask = () => database.prepare(STATES).bind(this.#options.keyspace, slotsOf(items)).all<SlotState>()
    const outcome = await observed(this.#routing, this.#call(shard, 1), ask, limits.shardCallMs)
    if ('error' in outcome) return items.map((item) => ({ item, code }))
    const states = new Map(outcome.value.results.map(({ slot, state }) => [slot, state]))
    const served: I[] = []
    const refused: Refused<I>[] = []
    for (const item of items) {
      const refusal = refusalOf(states.get(slotOf(item.key)))
      if (refusal) refused.push({ item, code: refusal })
      else served.push(item)
    }
    // All slots are served by now. Their items go in the next round, so that a slot that changes state repeatedly can't
    // hold up this one.
    if (refused.length === 0) return items.map((item) => ({ item, code }))
    return served.length === 0 ? refused : [...refused, ...(await this.#send(shard, served))]
  }

  /**
   * One item may have caused the refusal of all. Sends each half separately, until one item is alone with its error.
   */
  async #halve(
    shard: ShardEntry,
    items: I[],
    answer: Exclude<Answer, { kind: 'transient' }>,
    error: unknown,
  ): Promise<Refused<I>[]> {
    const typed = typedError(answer, error, this.#routing.clock)
    if (isUnapplied(answer)) return this.#giveUp(items, typed)
    if (items.length === 1 || !isOfOneItem(answer)) return this.#fail(items, typed)
    if (this.#batches >= limits.groupBatchesMax) return this.#giveUp(items, notSplit(error))
    const middle = Math.ceil(items.length / 2)
    return [...(await this.#send(shard, items.slice(0, middle))), ...(await this.#send(shard, items.slice(middle)))]
  }

  /** Nothing was written this time. If an earlier try may have written, that error is reported instead. */
  #giveUp(items: I[], error: BanyanError): [] {
    for (const item of items) this.#failed.set(item, this.#maybeApplied.get(item) ?? error)
    return []
  }

  #fail(items: I[], error: BanyanError): [] {
    for (const item of items) this.#failed.set(item, error)
    return []
  }

  get #kind() {
    return this.#options.isRead ? 'exact-read' : 'write'
  }

  #call(shard: ShardEntry, statements: number) {
    return { shard: shard.id, slot: '*', operation: this.#options.operation, kind: this.#kind, statements } as const
  }
}

interface SlotState {
  slot: string
  state: string
}

/** Reads have no guard, because a database that is read-only would refuse it. */
function refuseUnlessServed(items: Slotted[], states: D1Result<SlotState> | undefined): void {
  const known = new Map(states?.results.map(({ slot, state }) => [slot, state]))
  for (const { key } of items) refuseUnlessOwned(known.get(slotOf(key)))
}

const slotsOf = (items: Slotted[]): string => JSON.stringify([...new Set(items.map(({ key }) => slotOf(key)))])

const notSplit = (cause: unknown) =>
  new BanyanError(
    'BATCH_REFUSED',
    'Another item of the same batch may have been refused, which refuses all of them. Send this item again.',
    {
      cause,
      retryAfterSeconds: 1,
    },
  )

/** A slot that is not here needs a newer map. A fenced slot only needs a wait. */
const gravest = (refused: Refused<unknown>[]): SlotRefusalCode =>
  refused.some(({ code }) => code === 'SLOT_NOT_OWNED') ? 'SLOT_NOT_OWNED' : 'SLOT_FENCED'

const isOfOneItem = (answer: Answer): boolean =>
  answer.kind === 'refused' ||
  answer.kind === 'constraint' ||
  (answer.kind === 'statement' && answer.sqliteCode === 'SQLITE_TOOBIG')

import type { Clock } from '../core/clock.ts'
import { BanyanError, type ErrorCode } from '../core/errors.ts'
import { Directory } from '../sharding/directory.ts'
import type { DirectoryStorage } from '../sharding/directory-storage.ts'
import type { RetryKey } from '../sharding/idempotency.ts'
import { onlyRow } from '../sharding/named-batch.ts'
import type { EncodedMap, MapWire, ShardEntry, ShardState } from '../sharding/shard-map.ts'
import type { ShardDatabase } from '../sharding/shards.ts'
import { Fleet, type KeyspaceShards, type PlaceRequest, type Rebalance, type RebalanceRequest } from './fleet.ts'
import { KeptAnswers, type Once } from './kept-answers.ts'
import { MovePlanning, type MoveRequest } from './move-planning.ts'
import { MoveRecords } from './move-records.ts'
import type { MoveAnswer, MoveChange, MoveNotes, MoveProgress, MoveRecord, SeenMove } from './record.ts'
import { SCHEMA_VERSION } from './shard-side.ts'

/** Errors travel as values, because RPC preserves a code but not a class. */
export interface Refusal {
  code: ErrorCode
  detail: string
  retryAfterSeconds?: number
}

/** An answer of the directory. */
export type Reply<T> = T | Refusal

export type MoveVerb = 'abort' | 'reverse' | 'complete'

/**
 * The directory's operations: the methods of its Durable Object. Names and payloads travel between versions, so they do
 * not change. A `retry` key makes a repeated request return the first answer. It throws IDEMPOTENCY_KEY_REUSED if the
 * key was used for another request.
 */
export interface DirectoryOperations {
  /** Refused like `Directory.map`. */
  map(): Promise<Reply<{ map: MapWire }>>
  /** The map in encoded form, encoded once per epoch. */
  encodedMap(): Promise<Reply<EncodedMap>>
  /** One move per source, or none if the target owns all of the slots. Refused like `MovePlanning.plan`. */
  planMoves(request: MoveRequest, retry?: RetryKey | null): Promise<Reply<{ moves: MoveRecord[] }>>
  /** Refused like `MoveRecords[verb]`: NOT_FOUND, MOVE_STATE, SHARD_IN_MOVE. */
  steerMove(id: string, verb: MoveVerb, retry?: RetryKey | null): Promise<Reply<{ move: MoveRecord }>>
  /** Newest first. `before` is the id of the previous page's last move. */
  listMoves(page: { limit: number; before: string | null }): Promise<MoveRecord[]>
  findMove(id: string): Promise<MoveRecord | null>
  /** All open moves, for a cron of the previous version. */
  openMoves(): Promise<MoveRecord[]>
  /** The moves that may be asleep although they have work to do. */
  movesToWake(limit: number): Promise<string[]>
  /** A mover's compare-and-set. */
  changeMove(seen: SeenMove, change: MoveChange, progress: MoveProgress | null): Promise<MoveAnswer>
  reportMove(id: string, progress: MoveProgress | null, notes?: MoveNotes): Promise<void>
  /** Refused like `Fleet.join`. */
  joinShard(binding: string, retry?: RetryKey | null): Promise<Reply<{ shard: ShardEntry }>>
  /** Refused like `Fleet.setState`: NOT_FOUND, SHARD_IN_MOVE. */
  setShardState(id: string, state: ShardState): Promise<Reply<{ shard: ShardEntry }>>
  /** Refused like `Fleet.remove`: NOT_FOUND, SHARD_IN_MOVE, SHARD_NOT_EMPTY. */
  removeShard(id: string): Promise<Reply<{ removed: true }>>
  /** Refused like `Fleet.rebalance`. */
  rebalance(request: RebalanceRequest, retry?: RetryKey | null): Promise<Reply<Rebalance>>
  /** Refused like `Fleet.drain`. */
  drainShard(id: string, retry?: RetryKey | null): Promise<Reply<Rebalance>>
  /** Refused like `Directory.map`. */
  listKeyspaces(): Promise<Reply<{ items: KeyspaceShards[] }>>
  /** Refused like `Fleet.place`. */
  placeKeyspace(request: PlaceRequest, retry?: RetryKey | null): Promise<Reply<Rebalance>>
}

export type DirectoryOperation = keyof DirectoryOperations

interface OperationRule {
  /**
   * The runtime may repeat a read, and a read without an answer becomes DIRECTORY_UNAVAILABLE. A write without an
   * answer may have been recorded, so it becomes OUTCOME_UNKNOWN.
   */
  kind: 'read' | 'write'
  /** Names the limit in `limits` for one call. */
  limit: 'directoryMs' | 'directoryPlanMs'
}

const read: OperationRule = { kind: 'read', limit: 'directoryMs' }
const write: OperationRule = { kind: 'write', limit: 'directoryMs' }
/** Asks the shards before it answers. */
const plan: OperationRule = { kind: 'write', limit: 'directoryPlanMs' }

/** How each operation is called. The object's methods and all callers are built from this table. */
export const directoryOperations: Readonly<Record<DirectoryOperation, OperationRule>> = {
  map: read,
  encodedMap: read,
  planMoves: plan,
  steerMove: write,
  listMoves: read,
  findMove: read,
  openMoves: read,
  movesToWake: write, // it records which moves it returned
  changeMove: write,
  reportMove: write,
  joinShard: plan,
  setShardState: write,
  removeShard: write,
  rebalance: plan,
  drainShard: plan,
  listKeyspaces: read,
  placeKeyspace: plan,
}

export const directoryOperationNames = Object.keys(directoryOperations) as DirectoryOperation[]

/** An operation's answer if it is not refused. */
export type DirectoryAnswer<K extends DirectoryOperation> = Exclude<
  Awaited<ReturnType<DirectoryOperations[K]>>,
  Refusal
>

/** All directory operations as the Durable Object offers them. */
export type DirectoryCalls = {
  [K in DirectoryOperation]: (...given: Parameters<DirectoryOperations[K]>) => Promise<Reply<DirectoryAnswer<K>>>
}

/** All directory operations as the Worker calls them. A refusal is thrown as the original `BanyanError`. */
export type DirectoryClient = {
  [K in DirectoryOperation]: (...given: Parameters<DirectoryOperations[K]>) => Promise<DirectoryAnswer<K>>
}

export interface DirectoryServiceOptions {
  storage: DirectoryStorage
  clock: Clock
  /** The bound shards, by binding name. */
  shards: ReadonlyMap<string, ShardDatabase>
  newDeploymentId: () => string
  newMoveId: () => string
  /** The newest migration that this version of the Worker knows. */
  newestMigration: string
  leaseMs: number
  graceMs: number
  shardBytesMax: number
  /** Called with the reason if the slots of a new keyspace could not be assigned. A later call tries again. */
  onUnassigned?: (error: unknown) => void
  /** Called after a transaction that lets moves start, with the ids of the moves to wake. The call may be lost. */
  onRunnable: (ids: string[]) => void
}

/** The directory's operations, on the storage of its Durable Object. */
export class DirectoryService implements DirectoryOperations {
  readonly #directory: Directory
  readonly #records: MoveRecords
  readonly #planning: MovePlanning
  readonly #fleet: Fleet
  readonly #answers: KeptAnswers

  constructor({
    storage,
    clock,
    shards,
    newDeploymentId,
    newMoveId,
    onRunnable,
    onUnassigned,
    ...settings
  }: DirectoryServiceOptions) {
    const directory = new Directory({
      storage,
      clock,
      shards,
      newDeploymentId,
      ...(onUnassigned ? { onUnassigned } : {}),
    })
    const records = new MoveRecords({ ...settings, storage, clock, directory, onRunnable })
    const planning = new MovePlanning({
      ...settings,
      clock,
      directory,
      records,
      newId: newMoveId,
      async shardFacts({ binding }) {
        const database = shards.get(binding)
        if (!database)
          throw new BanyanError(
            'SHARD_UNKNOWN',
            `This version of the Worker has no binding ${binding}. Deploy a version that has it.`,
          )
        const answer = await database.prepare(SCHEMA_VERSION).all<{ version: string }>()
        const { meta } = answer
        return { schema: onlyRow(answer).version, bytes: (meta.size_after as number | undefined) || null }
      },
    })
    this.#directory = directory
    this.#records = records
    this.#planning = planning
    this.#fleet = new Fleet({ directory, records, planning })
    this.#answers = new KeptAnswers(storage, clock)
  }

  async map(): Promise<Reply<{ map: MapWire }>> {
    return replied(async () => ({ map: await this.#directory.map() }))
  }

  async encodedMap(): Promise<Reply<EncodedMap>> {
    return replied(() => this.#directory.encodedMap())
  }

  async planMoves(request: MoveRequest, retry: RetryKey | null = null): Promise<Reply<{ moves: MoveRecord[] }>> {
    return replied(async () => {
      await this.#directory.whole(request.keyspace)
      return { moves: await this.#answers.answer(retry, (once, parts) => this.#planning.plan(request, once, parts)) }
    })
  }

  async steerMove(id: string, verb: MoveVerb, retry: RetryKey | null = null): Promise<Reply<{ move: MoveRecord }>> {
    const steer = async (once: Once<MoveRecord>) => once(() => this.#records[verb](id))
    return replied(async () => ({ move: await this.#answers.answer(retry, steer) }))
  }

  async listMoves(page: { limit: number; before: string | null }): Promise<MoveRecord[]> {
    return this.#records.list(page)
  }

  async findMove(id: string): Promise<MoveRecord | null> {
    return this.#records.find(id)
  }

  async openMoves(): Promise<MoveRecord[]> {
    return this.#records.open()
  }

  async movesToWake(limit: number): Promise<string[]> {
    return this.#records.movesToWake(limit)
  }

  async changeMove(seen: SeenMove, change: MoveChange, progress: MoveProgress | null): Promise<MoveAnswer> {
    return this.#records.change(seen, change, progress)
  }

  async reportMove(id: string, progress: MoveProgress | null, notes?: MoveNotes): Promise<void> {
    this.#records.report(id, progress, notes)
  }

  async joinShard(binding: string, retry: RetryKey | null = null): Promise<Reply<{ shard: ShardEntry }>> {
    // Joining is idempotent, so the answer can be kept in a separate transaction.
    const join = async (once: Once<ShardEntry>) => {
      const shard = await this.#fleet.join(binding)
      return once(() => shard)
    }
    return replied(async () => ({ shard: await this.#answers.answer(retry, join) }))
  }

  async setShardState(id: string, state: ShardState): Promise<Reply<{ shard: ShardEntry }>> {
    return replied(async () => ({ shard: await this.#fleet.setState(id, state) }))
  }

  async removeShard(id: string): Promise<Reply<{ removed: true }>> {
    return replied(async () => {
      await this.#fleet.remove(id)
      return { removed: true }
    })
  }

  async rebalance(request: RebalanceRequest, retry: RetryKey | null = null): Promise<Reply<Rebalance>> {
    return replied(() => this.#answers.answer(retry, (once, parts) => this.#fleet.rebalance(request, once, parts)))
  }

  async listKeyspaces(): Promise<Reply<{ items: KeyspaceShards[] }>> {
    return replied(async () => ({ items: await this.#fleet.keyspaces() }))
  }

  async placeKeyspace(request: PlaceRequest, retry: RetryKey | null = null): Promise<Reply<Rebalance>> {
    return replied(() => this.#answers.answer(retry, (once, parts) => this.#fleet.place(request, once, parts)))
  }

  async drainShard(id: string, retry: RetryKey | null = null): Promise<Reply<Rebalance>> {
    return replied(() => this.#answers.answer(retry, (once, parts) => this.#fleet.drain(id, once, parts)))
  }
}

async function replied<T>(body: () => Promise<T>): Promise<Reply<T>> {
  try {
    return await body()
  } catch (error) {
    if (!(error instanceof BanyanError)) throw error
    const { code, message, retryAfterSeconds } = error
    return { code, detail: message, ...(retryAfterSeconds === undefined ? {} : { retryAfterSeconds }) }
  }
}

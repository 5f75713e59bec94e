import { env } from 'cloudflare:workers'
import type { AccountTiers } from '../../src/app/accounts/accounts.ts'
import { accountJobs } from '../../src/app/accounts/jobs.ts'
import { noCache } from '../../src/cache/cache.ts'
import { KvStore } from '../../src/cache/kv-store.ts'
import { createIdSource } from '../../src/core/ids.ts'
import { createLog } from '../../src/core/log.ts'
import { systemRandom } from '../../src/core/random.ts'
import { Dispatch } from '../../src/jobs/dispatch.ts'
import type { JobKinds } from '../../src/jobs/kinds.ts'
import type { Mail } from '../../src/jobs/mail.ts'
import type { Job } from '../../src/jobs/outbox.ts'
import { noPauses, Pauses } from '../../src/jobs/pauses.ts'
import { Relay } from '../../src/jobs/relay.ts'
import { Sessions } from '../../src/sessions/sessions.ts'
import { Stamps } from '../../src/sessions/stamps.ts'
import { boundShards } from '../../src/sharding/bound-shards.ts'
import { Claims } from '../../src/sharding/claims.ts'
import { Idempotency } from '../../src/sharding/idempotency.ts'
import { MapHolder, type MapSource } from '../../src/sharding/map-holder.ts'
import type { ShardCall } from '../../src/sharding/routing.ts'
import { Shards } from '../../src/sharding/shards.ts'
import type { Settings } from '../../src/web/context.ts'
import type { Env } from '../../workers/env.ts'
import { isolateOf } from '../../workers/isolate.ts'
import { UnkindKv } from './kv-double.ts'
import { UnkindQueue } from './queue-double.ts'
import { connectionLost, linkedDatabase, ManualClock, mapRequest } from './sharding-doubles.ts'

const bindings = env as unknown as Env

/** Whole milliseconds, like the real clock. A backoff may move it by a fraction of one. */
class WholeClock extends ManualClock {
  override now(): number {
    return Math.floor(this.time)
  }
}

type Moment = 'before' | 'after'

/** The point where a call is held. A crash is a hold that is never released. */
export interface Hold {
  reached: Promise<void>
  letGo(): void
}

export interface IsolateOptions {
  kinds?: JobKinds
  mode?: 'queue' | 'inline'
  settings?: Partial<Settings>
}

/** Time, KV, mails and queues that several isolates share. The shards are the runtime's. */
export class World {
  readonly clock = new WholeClock(Date.now())
  readonly kv = new UnkindKv(this.clock)
  readonly mails: Mail[] = []
  readonly queue = new UnkindQueue<Job>()
  isQueueDown = false
  readonly logged: string[] = []

  constructor() {
    this.queue.onBatch = () => {
      if (this.isQueueDown) throw new Error('Queue sendBatch failed: Internal Server Error')
    }
  }

  /** The jobs that the queue has accepted. */
  get queued(): Job[] {
    return this.queue.sent
  }

  /** A fresh isolate's tiers. Its shard calls can be held and failed by operation name. */
  isolate(options: IsolateOptions = {}) {
    return new TestIsolate(this, options)
  }
}

/** The fault for the first call of an operation; `*` is any operation. */
interface Fault {
  operation: string
  moment: Moment
  run(): Promise<void> | void
}

const never = new Promise<never>(() => undefined)

export class TestIsolate {
  readonly tiers: AccountTiers
  readonly dispatch: Dispatch
  readonly pauses: Pauses
  readonly relay: Relay
  readonly calls: ShardCall[] = []
  /** Jobs of committed batches, which wait until their response is sent. */
  readonly committed: Job[] = []
  /** Work that continues after the response. */
  readonly background: Promise<unknown>[] = []
  readonly #faults: Fault[] = []
  #losesNext = false
  #isDead = false

  constructor(world: World, { kinds, mode = 'inline', settings }: IsolateOptions) {
    const { clock } = world
    const log = createLog({}, (_level, line) => world.logged.push(line))
    const databases = [...boundShards(bindings)].map(
      ([name, database]) => [name, linkedDatabase(database, (send) => this.#send(send))] as const,
    )
    const shards = new Shards({
      holder: new MapHolder(clock, 30_000),
      request: { ...mapRequest(directory(clock)), log },
      shards: new Map(databases),
      clock,
      random: systemRandom,
      atLeastEpoch: 0,
      observer: {
        before: async (call) => {
          this.calls.push(call)
          await this.#meet(call.operation, 'before')
        },
        after: (call) => this.#meet(call.operation, 'after'),
      },
    })
    const common = {
      clock,
      random: systemRandom,
      log,
      shards,
      cache: noCache,
      ids: createIdSource(clock, systemRandom),
    }
    const { signingKey } = isolateOf(bindings).settings
    const sendMail = async (mail: Mail) => void world.mails.push(mail)
    this.pauses = new Pauses({ shards, clock, log, known: noPauses() })
    this.dispatch = new Dispatch({
      ...common,
      kinds: kinds ?? accountJobs({ signingKey, sendMail }),
      pauses: this.pauses,
      follow: (jobs) => this.relay.send(jobs),
    })
    const queue = world.queue.binding
    this.relay = new Relay({
      ...common,
      mode,
      queues: { mail: queue, jobs: queue, media: queue, purges: queue },
      dispatch: this.dispatch,
    })
    const waitUntil = (promise: Promise<unknown>) => void this.background.push(promise)
    this.tiers = {
      ...common,
      settings: { ...isolateOf(bindings).settings, ...settings },
      claims: new Claims(shards, clock),
      idempotency: new Idempotency(shards, clock, signingKey),
      sessions: new Sessions({
        ...common,
        copies: new KvStore(world.kv.binding, log, () => undefined),
        stamps: new Stamps(100),
        signingKey,
        waitUntil,
      }),
      follow: (jobs) => void this.committed.push(...jobs),
      waitUntil,
    }
  }

  /** Runs the work that was left for after the response. */
  async afterResponse(): Promise<void> {
    await this.relay.send(this.committed.splice(0))
    await this.settled()
  }

  async settled(): Promise<void> {
    while (this.background.length > 0) await Promise.all(this.background.splice(0))
  }

  /** Runs the cron's work for claims and outbox. */
  async cron(): Promise<void> {
    await this.relay.sweep()
    await this.tiers.claims.settleExpired()
  }

  /** The next call of this operation waits there until it is released. */
  holdAt(operation: string, moment: Moment): Hold {
    const reached = Promise.withResolvers<void>()
    const released = Promise.withResolvers<void>()
    this.#at(operation, moment, async () => {
      reached.resolve()
      await released.promise
    })
    return { reached: reached.promise, letGo: () => released.resolve() }
  }

  /** The isolate dies there: no call that it starts from then on is sent. Resolves when it has. */
  dieAt(operation: string, moment: Moment): Promise<void> {
    const reached = Promise.withResolvers<void>()
    this.#at(operation, moment, () => {
      this.#isDead = true
      reached.resolve()
      return never
    })
    return reached.promise
  }

  /** Runs something else there, once. */
  meanwhile(operation: string, moment: Moment, run: () => Promise<unknown>): void {
    this.#at(operation, moment, async () => void (await run()))
  }

  /** The next call of this operation has no effect and fails with this error. */
  failAt(operation: string, error: Error): void {
    this.#at(operation, 'before', () => {
      throw error
    })
  }

  /** The next call of this operation has its effect, but its answer is lost. */
  loseAnswerOf(operation: string): void {
    this.#at(operation, 'before', () => {
      this.#losesNext = true
    })
  }

  operations(): string[] {
    return this.calls.map(({ operation }) => operation)
  }

  #at(operation: string, moment: Moment, run: Fault['run']): void {
    this.#faults.push({ operation, moment, run })
  }

  async #meet(operation: string, moment: Moment): Promise<void> {
    if (this.#isDead) return never
    const index = this.#faults.findIndex((fault) => fault.operation === operation && fault.moment === moment)
    if (index < 0) return
    const [fault] = this.#faults.splice(index, 1)
    await fault!.run()
  }

  async #send(send: () => Promise<unknown>): Promise<unknown> {
    const isLost = this.#losesNext
    this.#losesNext = false
    const answer = await send()
    if (isLost) throw connectionLost()
    return answer
  }
}

/** The real directory. The world's clock counts its lease. */
const directory = (clock: ManualClock): MapSource => ({
  async map() {
    const reply = await bindings.DIRECTORY.get(bindings.DIRECTORY.idFromName('directory')).map()
    if (!('map' in reply)) throw new Error(reply.detail)
    return { ...reply.map, issuedAt: clock.now() }
  },
})

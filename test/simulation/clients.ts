import { changePassword, logIn, type SignedIn } from '../../src/app/accounts/accounts.ts'
import { signUp } from '../../src/app/accounts/sign-up.ts'
import type { ImportRecord } from '../../src/app/imports/records.ts'
import { hasCode, messageOf } from '../../src/core/errors.ts'
import { slotOf } from '../../src/core/ids.ts'
import { type Job, newJob, outboxStatement } from '../../src/jobs/outbox.ts'
import type { Session } from '../../src/sessions/sessions.ts'
import type { RetryKey } from '../../src/sharding/idempotency.ts'
import { type CausalToken, noToken } from '../../src/web/causal-token.ts'
import { type Answered, ask, isRefused } from './ask.ts'
import { BULK, effectIdOf } from './bulk-jobs.ts'
import { type Effect, FLEETING } from './checker.ts'
import { clientRows } from './client-rows.ts'
import { newWrite, Register, type Write } from './registers.ts'
import { QUEUE_MESSAGE_BYTES_MAX } from './scale.ts'
import { expectedStrange, odd, STRANGE_TABLE, strangeTriples } from './strange-rows.ts'
import type { SimulatedRequest, World } from './world.ts'

const TRIES_MAX = 8
/** How long a fleeting row lives (ms). Some expire while their slot moves. */
const FLEETING_MS = [300, 2_000, 8_000]

interface Account {
  userId: string
  email: string
  handle: string
  token: string
  sessionId: string
}

/** The action of a signed-in client's request. */
type AsUser<T> = (request: SimulatedRequest, session: Session) => Promise<T>

/** A requested post. Its requests, however often sent, must create one post. */
interface Creation {
  /** Set as soon as a shard has executed it. */
  post: Register | null
}

/** What clients did, and the answers they got. */
export class History {
  operations = 0
  /** After this many operations in total, a client slows down. */
  readonly operationsWanted: number
  /** Posts that their authors know of. */
  readonly posts = new Map<string, Register>()
  readonly accounts: Account[] = []
  /** Users of another application, by their id there, as sent. */
  readonly records = new Map<string, ImportRecord>()
  /** By their id here, as they were when an importer was told that they exist here. */
  readonly imported = new Map<string, ImportRecord>()
  /** Jobs whose cause was acknowledged, by the row of their effect. */
  readonly jobs = new Map<string, string>()
  /** By handle and by address: the user who was told that it is theirs. */
  readonly told = new Map<string, string>()
  /** Users who have ended their own sessions. For them, a missing session proves nothing. */
  readonly ending = new Set<string>()

  constructor(operationsWanted: number) {
    this.operationsWanted = operationsWanted
  }
}

/** A user with an account, or about to create one, who does one thing after another. */
export class Client {
  readonly #world: World
  readonly #history: History
  readonly #name: string
  #account: Account | null = null
  /** As a browser keeps it. */
  #causal: CausalToken = noToken
  /** When it last lost its token. It may miss what it wrote before. */
  #causalSince = 0
  #serial = 0
  isStopped = false

  constructor(world: World, history: History, name: string) {
    this.#world = world
    this.#history = history
    this.#name = name
  }

  start(): void {
    const { scheduler } = this.#world
    scheduler.after(scheduler.between(0, 300), () => void this.#live())
  }

  async #live(): Promise<void> {
    const { scheduler } = this.#world
    while (!this.isStopped) {
      if (this.#world.hasReplicas) await this.#readAround()
      if (!this.#account) await this.#signUp()
      else await this.#act(this.#account)
      this.#history.operations++
      const isAtLeisure = this.#history.operations >= this.#history.operationsWanted
      await scheduler.sleep(isAtLeisure ? scheduler.between(60, 900) : scheduler.between(5, 120))
    }
  }

  /** With replicas, there are more reads, without caches in between, and clients who lose their causal token. */
  async #readAround(): Promise<void> {
    const { scheduler } = this.#world
    if (scheduler.chance(0.02)) {
      this.#causal = noToken
      this.#causalSince = scheduler.now()
    }
    const posts = [...this.#history.posts.values()]
    if (posts.length === 0 || scheduler.chance(0.4)) return
    const own = posts.filter(({ id }) => this.#mine.has(id))
    if (own.length > 0 && scheduler.chance(0.7)) await this.#readRow(scheduler.pick(own), 'lease', true)
    else await this.#readRow(scheduler.pick(posts), scheduler.pick(['lease', 'lease', 'exact']), false)
  }

  /** An exact read is linearizable. With `isOwn`, the client sends its causal token. */
  async #readRow(post: Register, read: 'lease' | 'exact', isOwn: boolean): Promise<void> {
    const { scheduler, staleMs } = this.#world
    const startedAt = scheduler.now()
    const from = read === 'exact' ? startedAt : post.knownFrom(startedAt, staleMs, isOwn, this.#causalSince)
    const body = ({ tiers }: SimulatedRequest) => readPastCaches(this.#world, tiers, post, read)
    // An isolate that nothing writes through knows of a move only by the token's epoch.
    const isolate = isOwn && scheduler.chance(0.4) ? this.#world.visitors : this.#world.isolate()
    const causal = isOwn ? this.#causal : noToken
    const outcome = await ask(this.#world, { name: this.#name, causal, effect: null, isolate }, body)
    if ('value' in outcome) judge(this.#world, post, outcome.value.text, Math.max(from, outcome.value.movedAt))
  }

  async #act(account: Account): Promise<void> {
    const { scheduler } = this.#world
    const own = [...this.#history.posts.values()].filter(({ id }) => this.#mine.has(id))
    const dice = scheduler.random.fraction()
    if (own.length === 0 || dice < 0.34) return this.#createPost(account)
    const post = scheduler.pick(own)
    if (dice < 0.52) return this.#edit(account, post)
    if (dice < 0.58) return this.#delete(account, post)
    if (dice < 0.74) return this.#read(account, post, true)
    if (dice < 0.84) {
      const all = [...this.#history.posts.values()]
      return this.#read(account, scheduler.pick(all), false)
    }
    if (dice < 0.92) return this.#writeStrange(account)
    if (dice < 0.945) return this.#writeFleeting(account)
    if (dice < 0.95) return this.#causeJobs(account)
    if (dice < 0.965) return this.#endOtherSessions(account)
    if (dice < 0.983) return this.#changePassword(account)
    if (dice < 0.995) this.#account = null
  }

  readonly #mine = new Set<string>()

  // ── what a client does ────────────────────────────────────────────────────────────────────────

  async #signUp(): Promise<void> {
    const { scheduler, template } = this.#world
    if (this.#world.userIds.length < 15) return this.#history.accounts.length === 0 ? undefined : this.#takeOver()
    const handle = scheduler.pick(template.handles.slice(0, 14))
    const email = scheduler.pick(template.emails.slice(0, 20))
    const password = FIRST_PASSWORD
    const key = scheduler.chance(0.6) ? `${this.#name}-${++this.#serial}` : null
    const retry: RetryKey | null = key
      ? { key: scheduler.pick(template.signUpKeys) + key, request: `sign-up ${handle} ${email}` }
      : null
    for (let tries = 0; tries < TRIES_MAX; tries++) {
      const outcome = await this.#ask(({ tiers }) =>
        signUp(tiers, { email, handle, password }, { origin: 'http://localhost', userAgent: 'a simulation', retry }),
      )
      if ('value' in outcome) {
        const { userId, token } = outcome.value
        for (const value of [handle, email]) {
          const other = this.#history.told.get(value)
          if (other && other !== userId)
            this.#world.checker.report(`M5: ${value} was given to ${other} and to ${userId}`)
          this.#history.told.set(value, userId)
        }
        this.#account = {
          userId,
          email,
          handle,
          token,
          sessionId: token.split('.')[1]!,
        }
        this.#history.accounts.push(this.#account)
        if (!this.#world.checker.find('accounts', userId)) this.#keepFirstPassword(userId)
        this.#mine.clear()
        return
      }
      if (hasCode(outcome.error, 'EMAIL_TAKEN', 'HANDLE_TAKEN')) return
      if (!retry) return
      await scheduler.sleep(scheduler.between(50, 800))
    }
  }

  #keepFirstPassword(userId: string): void {
    const register = new Register('accounts', userId)
    register.apply(null, FIRST_PASSWORD, 0)
    this.#world.checker.watch(register)
  }

  /** If no free user is left: another user's account, from another device. */
  async #takeOver(): Promise<void> {
    const account = this.#world.scheduler.pick(this.#history.accounts)
    const signedIn = await this.#logIn(account, this.#passwordOf(account).value!, 'another device')
    if (!signedIn) return
    this.#account = { ...account, token: signedIn.token, sessionId: sessionIdOf(signedIn) }
    this.#causal = signedIn.causal
    this.#mine.clear()
  }

  #passwordOf({ userId }: Account): Register {
    return this.#world.checker.find('accounts', userId)!
  }

  /**
   * From a device without a causal token. A password opens a session only while it is the account's. It is
   * refused only if the account had another one meanwhile.
   */
  async #logIn(account: Account, password: string, device: string): Promise<SignedInWith | null> {
    const { scheduler, checker } = this.#world
    const startedAt = scheduler.now()
    const register = this.#passwordOf(account)
    const asking = { name: this.#name, causal: noToken, effect: null }
    const outcome = await ask(this.#world, asking, ({ tiers }) =>
      logIn(tiers, { login: account.handle, password }, { origin: 'http://localhost', userAgent: device }, null),
    )
    if ('value' in outcome) {
      if (!register.allowed(startedAt).has(password))
        checker.report(`INV-6: ${account.handle} logged in with a password that was changed before`)
      return { ...outcome.value, causal: outcome.causal }
    }
    const known = register.allowed(register.knownFrom(startedAt, this.#world.staleMs, true))
    if (hasCode(outcome.error, 'WRONG_CREDENTIALS') && known.has(password) && known.size === 1)
      checker.report(`M4: ${account.handle} can't log in`)
    return null
  }

  async #createPost(account: Account): Promise<void> {
    const { scheduler } = this.#world
    const number = ++this.#serial
    const text = `${this.#name} ${number} ${scheduler.chance(0.1) ? scheduler.pick(odd) : ''}`
    const retry: RetryKey | null = scheduler.chance(0.8) ? { key: `post-${number}-${this.#name}`, request: text } : null
    const creation: Creation = { post: null }
    for (let tries = 0; tries < TRIES_MAX; tries++) {
      const startedAt = scheduler.now()
      const write = newWrite(text)
      const outcome = await this.#asUser(
        account,
        ({ tiers }, session) => clientRows.create(tiers, session, text, retry),
        this.#effectOf(creation, write),
      )
      if ('value' in outcome) {
        if (!outcome.value) return this.#lost(account, write)
        const { id } = outcome.value
        if (creation.post?.id !== id) {
          this.#world.checker.report(`M3: ${text} became ${id}, but ${creation.post?.id} was written`)
          return
        }
        // A retry gets the answer of the try that was applied.
        if (write.appliedAt !== null) this.#note(creation.post.acknowledge(write, startedAt, scheduler.now()))
        this.#history.posts.set(id, creation.post)
        this.#mine.add(id)
        return
      }
      if (isRefused(outcome.error)) this.#refuse(creation.post, write)
      if (hasCode(outcome.error, 'SESSION_ENDED')) return this.#lost(account, write)
      if (!retry) return
      await scheduler.sleep(scheduler.between(20, 600))
    }
  }

  #effectOf(creation: Creation, write: Write): Effect {
    return {
      table: 'posts',
      write,
      registerOf: (key) => {
        // A promotion that lost the row has also lost the key of the request.
        if (creation.post?.isUndone) creation.post = null
        if (creation.post)
          this.#world.checker.report(`M3: ${write.value} was created as ${creation.post.id} and as ${key}`)
        creation.post ??= this.#world.checker.watch(new Register('posts', key))
        return creation.post
      },
    }
  }

  #note(problem: string | null): void {
    if (problem) this.#world.checker.report(problem)
  }

  /** Nothing of the write was applied, or will be. */
  #refuse(register: Register | null, write: Write): void {
    if (register) this.#note(register.refuse(write))
    else write.isRefused = true
  }

  /** Only another device of the user may have ended the session. */
  #lost(account: Account, write?: Write): void {
    if (write) this.#refuse(null, write)
    if (!this.#history.ending.has(account.userId))
      this.#world.checker.report(`M2: the session ${account.sessionId} is gone`)
    this.#account = null
  }

  async #edit(account: Account, post: Register): Promise<void> {
    const { scheduler } = this.#world
    const text = `${this.#name} edit ${++this.#serial} ${scheduler.chance(0.05) ? 'x'.repeat(2_000) : ''}`
    await this.#change(account, post, text, ({ tiers }, session) => clientRows.edit(tiers, session, post.id, text))
  }

  async #delete(account: Account, post: Register): Promise<void> {
    const isDone = await this.#change(account, post, null, ({ tiers }, session) =>
      clientRows.remove(tiers, session, post.id),
    )
    if (isDone) this.#mine.delete(post.id)
  }

  /** One write of an existing row, recorded in its register. True if it was acknowledged. */
  async #change(account: Account, register: Register, value: string | null, body: AsUser<unknown>): Promise<boolean> {
    const { scheduler, checker } = this.#world
    const startedAt = scheduler.now()
    const write = newWrite(value)
    const outcome = await this.#asUser(account, body, effectOn(register, write))
    if ('value' in outcome) {
      if (outcome.value === null) {
        this.#refuse(register, write)
        this.#lost(account)
        return false
      }
      this.#note(register.acknowledge(write, startedAt, scheduler.now()))
      return true
    }
    const { error } = outcome
    const isNothing = hasCode(error, 'NOT_FOUND', 'CONFLICT', 'WRONG_CREDENTIALS')
    if (isNothing || isRefused(error)) this.#refuse(register, write)
    this.#judgeFull(write, error)
    const known = register.allowed(register.knownFrom(startedAt, this.#world.staleMs, true))
    if (hasCode(error, 'NOT_FOUND') && !known.has(null))
      checker.report(`M2: ${value === null ? 'a deletion' : 'an edit'} found no ${register.id}`)
    if (hasCode(error, 'SESSION_ENDED')) this.#lost(account)
    return false
  }

  /**
   * With its own token, a client reads its own writes. Without one, a read may be a lease and a replica's lag behind,
   * but never misses a row because of a move.
   */
  async #read(account: Account, post: Register, isOwn: boolean): Promise<void> {
    const { scheduler, staleMs, cachedStaleMs } = this.#world
    const startedAt = scheduler.now()
    const from = post.knownFrom(startedAt, isOwn ? staleMs : cachedStaleMs, isOwn, this.#causalSince)
    const outcome = isOwn
      ? await this.#askAs(account, null, ({ tiers }) => clientRows.find(tiers, post.id))
      : await this.#askAsVisitor(({ tiers }) => clientRows.find(tiers, post.id))
    if ('value' in outcome) judge(this.#world, post, outcome.value?.text ?? null, from)
  }

  /** Rows with every kind of value, under keys that sort oddly: written, overwritten, deleted, written again. */
  async #writeStrange(account: Account): Promise<void> {
    const { scheduler } = this.#world
    const id = `${account.userId}.${scheduler.pick(odd)}`
    const literals = scheduler.chance(0.2) ? null : scheduler.pick(strangeTriples)
    const sql = literals
      ? `INSERT INTO ${STRANGE_TABLE} (id, handle, display_name, bio, created_at, version) VALUES (?1, '', ${literals.join(', ')}, 1)
         ON CONFLICT (id) DO UPDATE SET display_name = excluded.display_name, bio = excluded.bio, created_at = excluded.created_at`
      : `DELETE FROM ${STRANGE_TABLE} WHERE id = ?1`
    await this.#writeRow(account, STRANGE_TABLE, id, literals && expectedStrange(literals), sql, [id])
  }

  /** A row that housekeeping will delete sooner or later. Some get more time. */
  async #writeFleeting(account: Account): Promise<void> {
    const { scheduler } = this.#world
    const id = `${account.userId}.fleeting ${scheduler.below(6)}`
    const expiresAt = Math.floor(scheduler.now()) + scheduler.pick(FLEETING_MS)
    const sql = `INSERT INTO ${FLEETING} (id, user_id, purpose, email, secret_hash, expires_at) VALUES (?1, '', 'fleeting', '', '', ?2)
      ON CONFLICT (id) DO UPDATE SET expires_at = excluded.expires_at`
    await this.#writeRow(account, FLEETING, id, String(expiresAt), sql, [id, expiresAt])
  }

  async #writeRow(
    account: Account,
    table: string,
    id: string,
    value: string | null,
    sql: string,
    values: unknown[],
  ): Promise<void> {
    const { scheduler, checker } = this.#world
    const register = checker.find(table, id) ?? checker.watch(new Register(table, id))
    const startedAt = scheduler.now()
    const write = newWrite(value)
    const outcome = await this.#askAs(account, effectOn(register, write), ({ tiers }) =>
      tiers.shards
        .of(id, { operation: `${table}.write-row` })
        .prepare(sql)
        .bind(...values)
        .run(),
    )
    if ('value' in outcome) this.#note(register.acknowledge(write, startedAt, scheduler.now()))
    else {
      if (isRefused(outcome.error)) this.#refuse(register, write)
      this.#judgeFull(write, outcome.error)
    }
  }

  /** A full disk is not an unknown outcome, because nothing was written. */
  #judgeFull(write: Write, error: unknown): void {
    if (write.isToldFull && hasCode(error, 'OUTCOME_UNKNOWN'))
      this.#world.checker.report(
        'M3: a full disk had refused a write, but its client was told that the outcome is unknown',
      )
  }

  /** Several jobs at once, too large for one batch together. Sometimes one is too large for any message, which then has no body. */
  async #causeJobs(account: Account): Promise<void> {
    const { scheduler } = this.#world
    const count = scheduler.between(1, 6)
    let jobs: Job[] = []
    const outcome = await this.#askAs(account, null, async ({ tiers }) => {
      const bytes = Array.from({ length: count }, () =>
        scheduler.between(10, Math.floor(QUEUE_MESSAGE_BYTES_MAX * 0.7)),
      )
      if (scheduler.chance(0.15)) bytes.push(QUEUE_MESSAGE_BYTES_MAX + scheduler.between(1, 100))
      const { ids, clock, shards } = tiers
      jobs = bytes.map((size) => newJob(ids, clock, account.userId, BULK, { text: 'x'.repeat(size), size }))
      const database = shards.of(account.userId, { operation: 'jobs.cause' })
      await database.batch(jobs.map((job) => outboxStatement(database, job)))
      tiers.follow(jobs)
    })
    if (!('value' in outcome)) return
    for (const job of jobs) this.#history.jobs.set(effectIdOf(job), job.id)
  }

  /** From another device. A holder of an ended session must be refused, immediately and permanently. */
  async #endOtherSessions(account: Account): Promise<void> {
    const begun = await this.#logIn(account, this.#passwordOf(account).value!, 'a second device')
    if (!begun) return
    const session = { id: sessionIdOf(begun), userId: account.userId }
    this.#history.ending.add(account.userId)
    const asking = { name: this.#name, causal: begun.causal, token: begun.token, effect: null }
    const outcome = await ask(this.#world, asking, ({ tiers }) => tiers.sessions.endOthers(session))
    if (!('value' in outcome)) return
    await this.#haunt(account, account.sessionId)
    this.#account = { ...account, token: begun.token, sessionId: session.id }
    this.#causal = outcome.causal
    await this.#world.scheduler.sleep(5)
  }

  /** After an acknowledged change, neither the old password nor an earlier session opens anything. */
  async #changePassword(account: Account): Promise<void> {
    const { scheduler } = this.#world
    const register = this.#passwordOf(account)
    const current = register.value!
    const device = 'a second device'
    // Before the change, or at the same time. In that case the password is checked first, and the session may start
    // later.
    const isBeside = scheduler.chance(0.6)
    const begun = this.#logIn(account, current, device)
    if (isBeside) await scheduler.sleep(scheduler.between(0, 12))
    else await begun
    const next = `a password of ${this.#name}, number ${++this.#serial}`
    this.#history.ending.add(account.userId)
    const isDone = await this.#change(account, register, next, ({ tiers }, session) =>
      changePassword(tiers, session, { current, next }, 'http://localhost', false),
    )
    const other = await begun
    if (!isDone) return
    if (other) await this.#haunt(account, sessionIdOf(other))
    await this.#logIn(account, current, 'an attacker with the old password')
  }

  /** Writes with a session that has ended. */
  async #haunt(account: Account, sessionId: string): Promise<void> {
    const ghost = { id: sessionId, userId: account.userId }
    const text = `${this.#name} ghost ${++this.#serial}`
    const write = newWrite(text)
    this.#refuse(null, write)
    const outcome = await this.#askAs(account, this.#effectOf({ post: null }, write), ({ tiers }) =>
      clientRows.create(tiers, ghost, text, null),
    )
    if ('value' in outcome) this.#world.checker.report(`INV-6: a write with the ended session ${ghost.id} was accepted`)
  }

  // ── a request ─────────────────────────────────────────────────────────────────────────────────

  /** Authenticates, then runs the action. Resolves to null if the session has ended. */
  async #asUser<T>(account: Account, body: AsUser<T>, effect: Effect): Promise<Answered<T | null>> {
    const outcome = await this.#askAs(account, effect, async (request): Promise<{ did: T } | null> => {
      // Usually no shard is asked, as with a copy and a fresh stamp.
      const { session } = this.#world.scheduler.chance(0.3)
        ? await request.tiers.sessions.authenticate(account.token, null)
        : { session: { id: account.sessionId, userId: account.userId } }
      return session && { did: await body(request, session) }
    })
    if (!('value' in outcome)) return outcome
    const { value, causal } = outcome
    return { value: value && ((value.did ?? (true as unknown)) as T), causal }
  }

  /** With the client's tokens. Its requests follow each other, so that the newest causal token is the last write's. */
  async #askAs<T>(
    account: Account | null,
    effect: Effect | null,
    body: (request: SimulatedRequest) => Promise<T>,
  ): Promise<Answered<T>> {
    const asking = { name: this.#name, causal: this.#causal, token: account?.token ?? null, effect }
    const answered = await ask(this.#world, asking, body)
    this.#causal = answered.causal
    return answered
  }

  #ask<T>(body: (request: SimulatedRequest) => Promise<T>): Promise<Answered<T>> {
    return this.#askAs(null, null, body)
  }

  #askAsVisitor<T>(body: (request: SimulatedRequest) => Promise<T>): Promise<Answered<T>> {
    return ask(this.#world, { name: this.#name, causal: noToken, effect: null }, body)
  }
}

/** `movedAt`: the read may not miss what was there then, because its isolate knows of the move. */
async function readPastCaches(
  { checker }: World,
  { shards }: SimulatedRequest['tiers'],
  { id }: Register,
  read: 'lease' | 'exact',
): Promise<{ text: string | null; movedAt: number }> {
  const movedAt = checker.movedAt(slotOf(id), shards.epoch ?? 0)
  const database = shards.of(id, { operation: 'rows.read', read })
  return { text: await database.prepare('SELECT text FROM posts WHERE id = ?').bind(id).first<string>('text'), movedAt }
}

/** How many visitors read a row when a move has committed, which replicas have not heard of yet. */
const READS_AFTER_COMMIT = 12

/** Visitors who read at random isolates while replicas have not received what a move has brought. */
export function visitAfterCommits(world: World, history: History): void {
  const { scheduler } = world
  const read = () => {
    const posts = [...history.posts.values()]
    if (posts.length === 0) return
    const post = scheduler.pick(posts)
    const from = post.knownFrom(scheduler.now(), world.staleMs, false)
    const { tiers } = world.isolate().request()
    readPastCaches(world, tiers, post, 'lease').then(
      ({ text, movedAt }) => judge(world, post, text, Math.max(from, movedAt)),
      (error: unknown) => world.note(() => `visitor: ${messageOf(error)}`),
    )
  }
  world.onCommit = () => {
    for (let reads = 0; reads < READS_AFTER_COMMIT; reads++)
      scheduler.after(scheduler.between(0, Math.min(world.lagMsMax, 1_500)), read)
  }
}

/** A user without an account who reads, and waits as long as it takes. */
export function visit(world: World, history: History): void {
  const { scheduler } = world
  const again = () => {
    if (!world.faults.isCalm) scheduler.after(scheduler.between(100, 700), read)
  }
  const read = () => {
    again()
    const posts = [...history.posts.values()]
    if (posts.length === 0) return
    const post = scheduler.pick(posts)
    const from = post.knownFrom(scheduler.now(), world.cachedStaleMs, false)
    const { tiers } = world.visitors.request()
    clientRows.find(tiers, post.id).then(
      (found) => judge(world, post, found?.text ?? null, from),
      (error: unknown) => world.note(() => `visitor: ${messageOf(error)}`),
    )
  }
  again()
}

function judge(world: World, post: Register, found: string | null, from: number): void {
  const allowed = post.allowed(from)
  if (allowed.has(found)) return
  const ageMs = Math.round(world.scheduler.now() - from)
  world.checker.report(
    `M4: ${post.id} reads ${JSON.stringify(found)}, but had in the last ${ageMs} ms only ${JSON.stringify([...allowed])}`,
  )
}

type SignedInWith = SignedIn & { causal: CausalToken }

const FIRST_PASSWORD = 'seven quiet herons'

const sessionIdOf = ({ token }: SignedIn): string => token.split('.')[1]!

const effectOn = (register: Register, write: Write): Effect => ({
  table: register.table,
  write,
  registerOf: (key) => (key === register.id ? register : null),
})

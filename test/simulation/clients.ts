import { logIn } from '../../src/app/accounts/accounts.ts'
import { signUp } from '../../src/app/accounts/sign-up.ts'
import { createPost, deletePost, editPost, findPost } from '../../src/app/posts/posts.ts'
import { hasCode, messageOf } from '../../src/core/errors.ts'
import type { Session } from '../../src/sessions/sessions.ts'
import type { RetryKey } from '../../src/sharding/idempotency.ts'
import { Register } from './registers.ts'
import { LEASE_MS } from './scale.ts'
import { expectedStrange, odd, strangeTriples } from './strange-rows.ts'
import type { Isolate, World } from './world.ts'

const TRIES_MAX = 8
const TIMEOUT_MS = 7_000
/** A client that waits no longer doesn't know what happened. */
class NoAnswer extends Error {}

interface Account {
  userId: string
  email: string
  handle: string
  password: string
  token: string
  sessionId: string
  /** The newest epoch that its client has met. */
  epoch: number
}

/** What a signed-in client's request does. */
type AsUser<T> = (request: ReturnType<Isolate['request']>, session: Session) => Promise<T>

/** A post that somebody asked for: each request of one, however often it is sent, is to make one. */
export interface Creation {
  text: string
  postId: string | null
  ackedAt: number | null
  mayHaveHappened: boolean
}

/** What clients did, and what they were told. */
export class History {
  operations = 0
  /** Who has done this many together goes on at leisure. */
  readonly operationsWanted: number
  readonly posts = new Map<string, Register>()
  readonly strange = new Map<string, Register>()
  readonly creations: Creation[] = []
  readonly accounts: Account[] = []
  /** By handle and by address: who was told that it is theirs. */
  readonly told = new Map<string, string>()
  /** Users who have ended sessions of theirs: one that is gone proves nothing. */
  readonly ending = new Set<string>()
  /** Strange rows that somebody writes just now: the order of two writers would be anybody's guess. */
  readonly busy = new Set<string>()

  constructor(operationsWanted: number) {
    this.operationsWanted = operationsWanted
  }
}

/** Somebody with an account, or about to have one, who does one thing after the other. */
export class Client {
  readonly #world: World
  readonly #history: History
  readonly #name: string
  #account: Account | null = null
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
      if (!this.#account) await this.#signUp()
      else await this.#act(this.#account)
      this.#history.operations++
      const isAtLeisure = this.#history.operations >= this.#history.operationsWanted
      await scheduler.sleep(isAtLeisure ? scheduler.between(60, 900) : scheduler.between(5, 120))
    }
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
    if (dice < 0.95) return this.#writeStrange(account)
    if (dice < 0.975) return this.#endOtherSessions(account)
    if (dice < 0.99) this.#account = null
  }

  readonly #mine = new Set<string>()

  // ── what a client does ────────────────────────────────────────────────────────────────────────

  async #signUp(): Promise<void> {
    const { scheduler, template } = this.#world
    if (this.#world.userIds.length < 15) return this.#history.accounts.length === 0 ? undefined : this.#takeOver()
    const handle = scheduler.pick(template.handles.slice(0, 14))
    const email = scheduler.pick(template.emails.slice(0, 20))
    const password = 'seven quiet herons'
    const key = scheduler.chance(0.6) ? `${this.#name}-${++this.#serial}` : null
    const retry: RetryKey | null = key
      ? { key: scheduler.pick(template.signUpKeys) + key, request: `sign-up ${handle} ${email}` }
      : null
    for (let tries = 0; tries < TRIES_MAX; tries++) {
      const outcome = await this.#ask(0, ({ tiers }) =>
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
          password,
          token,
          sessionId: token.split('.')[1]!,
          epoch: outcome.epoch,
        }
        this.#history.accounts.push(this.#account)
        this.#mine.clear()
        return
      }
      if (hasCode(outcome.error, 'EMAIL_TAKEN', 'HANDLE_TAKEN')) return
      if (!retry) return
      await scheduler.sleep(scheduler.between(50, 800))
    }
  }

  /** Nobody is left to be: some other's account, from another device. */
  async #takeOver(): Promise<void> {
    const { scheduler } = this.#world
    const account = scheduler.pick(this.#history.accounts)
    const outcome = await this.#ask(account.epoch, ({ tiers }) =>
      logIn(tiers, { login: account.handle, password: account.password }, 'another device', null),
    )
    if ('value' in outcome) {
      const { token } = outcome.value
      this.#account = { ...account, token, sessionId: token.split('.')[1]!, epoch: outcome.epoch }
      this.#mine.clear()
    } else if (hasCode(outcome.error, 'WRONG_CREDENTIALS') && this.#world.faults.isCalm)
      this.#world.checker.report(`M4: ${account.handle} can't log in`)
  }

  async #createPost(account: Account): Promise<void> {
    const { scheduler } = this.#world
    const number = ++this.#serial
    const text = `${this.#name} ${number} ${scheduler.chance(0.1) ? scheduler.pick(odd) : ''}`
    const retry: RetryKey | null = scheduler.chance(0.8) ? { key: `post-${number}-${this.#name}`, request: text } : null
    const creation: Creation = { text, postId: null, ackedAt: null, mayHaveHappened: false }
    this.#history.creations.push(creation)
    for (let tries = 0; tries < TRIES_MAX; tries++) {
      const startedAt = scheduler.now()
      const mightBefore = creation.mayHaveHappened
      creation.mayHaveHappened = true
      const outcome = await this.#asUser(account, ({ tiers }, session) => createPost(tiers, session, text, retry))
      if ('value' in outcome) {
        if (!outcome.value) {
          creation.mayHaveHappened = mightBefore
          return this.#lost(account)
        }
        const { id } = outcome.value
        if (creation.postId && creation.postId !== id)
          this.#world.checker.report(`M3: ${text} became ${creation.postId} and ${id}`)
        creation.postId = id
        creation.ackedAt = scheduler.now()
        const register = new Register(id)
        register.begin(text, startedAt).ackedAt = scheduler.now()
        this.#history.posts.set(id, register)
        this.#mine.add(id)
        return
      }
      if (isRefused(outcome.error)) creation.mayHaveHappened = mightBefore
      if (hasCode(outcome.error, 'SESSION_ENDED')) return this.#lost(account)
      if (!retry) return
      await scheduler.sleep(scheduler.between(20, 600))
    }
  }

  /** Another device may have ended the session; nobody else may. */
  #lost(account: Account): void {
    if (!this.#history.ending.has(account.userId))
      this.#world.checker.report(`M2: the session ${account.sessionId} is gone`)
    this.#account = null
  }

  async #edit(account: Account, post: Register): Promise<void> {
    const { scheduler } = this.#world
    const text = `${this.#name} edit ${++this.#serial} ${scheduler.chance(0.05) ? 'x'.repeat(2_000) : ''}`
    await this.#change(account, post, text, ({ tiers }, session) => editPost(tiers, session, post.id, text))
  }

  async #delete(account: Account, post: Register): Promise<void> {
    const isDone = await this.#change(account, post, null, ({ tiers }, session) => deletePost(tiers, session, post.id))
    if (isDone) this.#mine.delete(post.id)
  }

  /** One write of a post that is there, told of in its register. True when it was acknowledged. */
  async #change(account: Account, post: Register, value: string | null, body: AsUser<unknown>): Promise<boolean> {
    const { scheduler } = this.#world
    const write = post.begin(value, scheduler.now())
    const outcome = await this.#asUser(account, body)
    if ('value' in outcome) {
      if (outcome.value === null) {
        write.mayHaveHappened = false
        this.#lost(account)
        return false
      }
      write.ackedAt = scheduler.now()
      return true
    }
    if (isRefused(outcome.error)) write.mayHaveHappened = false
    if (hasCode(outcome.error, 'NOT_FOUND')) {
      write.mayHaveHappened = false
      const what = value === null ? 'a deletion' : 'an edit'
      if (post.isSureToExist) this.#world.checker.report(`M2: ${what} found no ${post.id}`)
    }
    if (hasCode(outcome.error, 'SESSION_ENDED')) this.#lost(account)
    return false
  }

  /** With its own token a client reads its own writes; without one it may be a lease behind, and never misses a row for a move. */
  async #read(account: Account, post: Register, isOwn: boolean): Promise<void> {
    const { scheduler } = this.#world
    const startedAt = scheduler.now()
    const outcome = await this.#ask(isOwn ? account.epoch : 0, ({ tiers }) => findPost(tiers, post.id))
    if (!('value' in outcome)) return
    judge(this.#world, post, outcome.value?.text ?? null, startedAt, isOwn ? 0 : STALE_MS)
  }

  /** Rows of every kind that a column takes, under keys that sort oddly: written, written over, deleted, written again. */
  async #writeStrange(account: Account): Promise<void> {
    const { scheduler } = this.#world
    const id = `${account.userId}.${scheduler.pick(odd)}`
    const register = this.#history.strange.get(id) ?? new Register(id)
    if (this.#history.busy.has(id)) return
    this.#history.strange.set(id, register)
    this.#history.busy.add(id)
    const literals = scheduler.chance(0.2) ? null : scheduler.pick(strangeTriples)
    const write = register.begin(literals && expectedStrange(literals), scheduler.now())
    const outcome = await this.#ask(account.epoch, ({ tiers }) => {
      const database = tiers.shards.of(id, { operation: 'strange.write' })
      const sql = literals
        ? `INSERT INTO mail_tokens (id, user_id, purpose, email, secret_hash, expires_at) VALUES (?1, '', 'strange', ${literals.join(', ')})
           ON CONFLICT (id) DO UPDATE SET email = excluded.email, secret_hash = excluded.secret_hash, expires_at = excluded.expires_at`
        : 'DELETE FROM mail_tokens WHERE id = ?1'
      return database.prepare(sql).bind(id).run()
    })
    if ('value' in outcome) {
      write.ackedAt = scheduler.now()
      account.epoch = Math.max(account.epoch, outcome.epoch)
    } else if (isRefused(outcome.error)) write.mayHaveHappened = false
    this.#history.busy.delete(id)
  }

  /** From another device. Whoever still holds an ended session must be refused, at once and for ever. */
  async #endOtherSessions(account: Account): Promise<void> {
    const { scheduler } = this.#world
    const begun = await this.#ask(account.epoch, ({ tiers }) =>
      logIn(tiers, { login: account.handle, password: account.password }, 'a second device', null),
    )
    if (!('value' in begun)) return
    const session = { id: begun.value.token.split('.')[1]!, userId: account.userId }
    this.#history.ending.add(account.userId)
    const outcome = await this.#ask(Math.max(account.epoch, begun.epoch), ({ tiers }) =>
      tiers.sessions.endOthers(session),
    )
    if (!('value' in outcome)) return
    const ghost = { id: account.sessionId, userId: account.userId }
    const text = `${this.#name} ghost ${++this.#serial}`
    const ghostly = await this.#ask(account.epoch, ({ tiers }) => createPost(tiers, ghost, text, null))
    if ('value' in ghostly) this.#world.checker.report(`INV-6: a write with the ended session ${ghost.id} was accepted`)
    this.#history.creations.push({ text, postId: null, ackedAt: null, mayHaveHappened: false })
    this.#account = {
      ...account,
      token: begun.value.token,
      sessionId: session.id,
      epoch: Math.max(begun.epoch, outcome.epoch),
    }
    await scheduler.sleep(5)
  }

  // ── a request ─────────────────────────────────────────────────────────────────────────────────

  /** Authenticates, then does it; resolves to null when the session has ended. */
  async #asUser<T>(
    account: Account,
    body: AsUser<T>,
  ): Promise<{ value: T | null; epoch: number } | { error: unknown }> {
    const outcome = await this.#ask(account.epoch, async (request): Promise<{ did: T } | null> => {
      // Mostly, as with a copy and a fresh stamp: nobody is asked.
      const { session } = this.#world.scheduler.chance(0.3)
        ? await request.tiers.sessions.authenticate(account.token, null)
        : { session: { id: account.sessionId, userId: account.userId } }
      return session && { did: await body(request, session) }
    })
    if (!('value' in outcome)) return outcome
    account.epoch = Math.max(account.epoch, outcome.epoch)
    if (outcome.value === null) return { value: null, epoch: outcome.epoch }
    return { value: (outcome.value.did ?? (true as unknown)) as T, epoch: outcome.epoch }
  }

  /** One request to any isolate. It fails when the isolate dies, or doesn't answer in time. */
  async #ask<T>(
    epoch: number,
    body: (request: ReturnType<Isolate['request']>) => Promise<T>,
  ): Promise<{ value: T; epoch: number } | { error: unknown }> {
    const { scheduler } = this.#world
    const isolate = this.#world.isolate()
    const request = isolate.request(epoch)
    return new Promise((resolve) => {
      const fail = (why: string) => resolve({ error: new NoAnswer(why) })
      isolate.process.onDeath(() => fail('the isolate is gone'))
      scheduler.after(TIMEOUT_MS, () => fail('no answer in time'))
      isolate.process.after(1, () => {
        body(request).then(
          async (value) => {
            const { epoch: newest } = await request.tiers.shards.map()
            isolate.process.after(1, () => resolve({ value, epoch: newest }))
          },
          (error: unknown) => {
            this.#world.note(() => `${this.#name}: ${messageOf(error)}`)
            isolate.process.after(1, () => resolve({ error }))
          },
        )
      })
    })
  }
}

/** Somebody without an account who reads what is there, and waits as long as it takes. */
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
    const startedAt = scheduler.now()
    const { tiers } = world.visitors.request()
    findPost(tiers, post.id).then(
      (found) => judge(world, post, found?.text ?? null, startedAt, STALE_MS),
      (error: unknown) => world.note(() => `visitor: ${messageOf(error)}`),
    )
  }
  again()
}

/** A lease, and what a copy of the map may have been old when it was taken up. */
const STALE_MS = LEASE_MS * 2 + 1_500

function judge(world: World, post: Register, found: string | null, startedAt: number, staleMs: number): void {
  const allowed = post.allowed(startedAt, staleMs)
  if (allowed.has(found)) return
  const whose = staleMs === 0 ? ' by its author' : ''
  world.checker.report(
    `M4: ${post.id} reads ${JSON.stringify(found)}${whose}, and may be ${JSON.stringify([...allowed])}`,
  )
}

/** Told that nothing was written. */
const isRefused = (error: unknown): boolean => hasCode(error, 'SLOT_FENCED', 'SLOT_NOT_OWNED', 'SESSION_ENDED')

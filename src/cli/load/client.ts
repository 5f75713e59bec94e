import { NEVER_SENT } from '../shell/client.ts'
import type { Timer } from '../shell/screen.ts'
import { parsed } from './answer-body.ts'
import type { Random } from './draws.ts'

export interface Clock extends Timer {
  /** A signal that aborts after `ms` milliseconds. */
  timeout(ms: number): AbortSignal
}

export interface ClientOptions {
  fetch(url: URL, init: RequestInit): Promise<Response>
  clock: Clock
  /** For the jitter between attempts. */
  random: Random
  onRetry(): void
  /** A request was acknowledged after a retry. */
  onRecovered(): void
}

export interface RequestOptions {
  json?: object
  key?: string
  giveUpMs?: number
}

/** The outcome of a request, with all its attempts. */
export interface Ended {
  /** `refused`: the server refused it, permanently or until the client gave up. `unknown`: there was no answer. */
  outcome: 'acknowledged' | 'refused' | 'unknown'
  /** The answer's status; 0 without an answer. */
  status: number
  body: string
  /** Why the last failed attempt failed, like `503 SLOT_FENCED` or `ECONNRESET`. Empty if none failed. */
  reason: string
  tries: number
  /** True if an unanswered attempt may have taken effect. */
  wasUncertain: boolean
  /** True if the server could not be reached at the last attempt. */
  isGone: boolean
}

// An attempt may take longer than the 5 s that a write may wait for a move. No attempt starts after GIVE_UP_MS, so a
// request ends within 25 s.
const TRY_MS = 10_000
const GIVE_UP_MS = 15_000
const BACKOFF_BASE_MS = 50
const BACKOFF_CAP_MS = 2_000

/** An API client that keeps its token and the newest causal token, and retries requests that may be retried. */
export class Client {
  readonly #base: URL
  readonly #options: ClientOptions
  #causalToken: string | null = null
  token: string | null = null

  constructor(base: URL, options: ClientOptions) {
    this.#base = base
    this.#options = options
  }

  /**
   * Sends a request, and retries it with jitter for 15 s or `giveUpMs` while the server is unavailable or asks to
   * retry. Every POST needs a `key`, which all attempts share so that the request takes effect once.
   */
  async request(method: string, path: string, options: RequestOptions = {}): Promise<Ended> {
    const { json, key, giveUpMs = GIVE_UP_MS } = options
    const { clock, random, onRetry, onRecovered } = this.#options
    const deadline = clock.now() + giveUpMs
    let wasUncertain = false
    let reason = ''
    for (let tries = 1; ; tries++) {
      const tried = await this.#try(method, path, json, key)
      if (tried.outcome === 'acknowledged') {
        if (tries > 1) onRecovered()
        return { ...tried, reason, tries, wasUncertain }
      }
      reason = tried.reason
      wasUncertain ||= tried.mayBeApplied
      const waitMs = tried.retryAfterMs + random() * Math.min(BACKOFF_CAP_MS, BACKOFF_BASE_MS * 2 ** tries)
      if (!tried.mayTryAgain || clock.now() + waitMs > deadline) {
        const isUnknown = tried.outcome === 'unknown' || (tried.mayTryAgain && wasUncertain)
        return { ...tried, outcome: isUnknown ? 'unknown' : 'refused', tries, wasUncertain }
      }
      await clock.sleep(waitMs)
      onRetry()
    }
  }

  async #try(method: string, path: string, json?: object, key?: string): Promise<Tried> {
    const headers: Record<string, string> = { accept: 'application/json' }
    if (this.token) headers.authorization = `Bearer ${this.token}`
    if (this.#causalToken) headers['x-causal-token'] = this.#causalToken
    if (json) headers['content-type'] = 'application/json'
    if (key) headers['idempotency-key'] = key
    const { fetch, clock } = this.#options
    const signal = clock.timeout(TRY_MS)
    try {
      const init = { method, headers, redirect: 'manual', signal, ...(json ? { body: JSON.stringify(json) } : {}) }
      const response = await fetch(new URL(path, this.#base), init as RequestInit)
      const body = await response.text()
      this.#causalToken = response.headers.get('x-causal-token') ?? this.#causalToken
      return answered(response.status, body, Number(response.headers.get('retry-after')) || 0)
    } catch (error) {
      const { message, cause } = error as Error & { cause?: { code?: string; message?: string } }
      if (!signal.aborted && !cause) throw error // fetch sets a cause for network errors; any other error is a bug
      return unanswered(signal.aborted ? null : (cause?.code ?? cause?.message ?? message))
    }
  }
}

interface Tried extends Omit<Ended, 'tries' | 'wasUncertain'> {
  mayTryAgain: boolean
  mayBeApplied: boolean
  retryAfterMs: number
}

/** A 5xx without a code comes from a gateway, not from the application, so the request or its answer was lost. */
function answered(status: number, body: string, retryAfterSeconds: number): Tried {
  const code = codeOf(body)
  const isLost = status >= 500 && code === null
  const isNotNow = status === 503 || status === 429 || code === 'CONFLICT'
  return {
    outcome: status >= 200 && status < 300 ? 'acknowledged' : isLost ? 'unknown' : 'refused',
    status,
    body,
    reason: [status, code].filter(Boolean).join(' '),
    isGone: false,
    mayTryAgain: isLost || isNotNow,
    mayBeApplied: isLost || status === 500 || code === 'OUTCOME_UNKNOWN',
    retryAfterMs: Number.isFinite(retryAfterSeconds) ? retryAfterSeconds * 1_000 : 0,
  }
}

/** `reason` is null after a timeout. */
function unanswered(reason: string | null): Tried {
  const isGone = reason !== null && NEVER_SENT.includes(reason)
  return {
    outcome: 'unknown',
    status: 0,
    body: '',
    reason: reason ?? `no answer in ${TRY_MS / 1_000} s`,
    isGone,
    mayTryAgain: true,
    mayBeApplied: !isGone,
    retryAfterMs: 0,
  }
}

/** The code of the application's problem (RFC 9457), or null. */
function codeOf(body: string): string | null {
  const { code } = parsed<{ code: unknown }>(body)
  return typeof code === 'string' ? code : null
}

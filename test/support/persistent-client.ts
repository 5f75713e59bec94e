/** A client that doesn't take a crash for an answer. */
import type { Random } from '../../src/core/random.ts'
import { type Answer, type Bearer, bearer, type RequestOptions } from './http-client.ts'
import type { KillableStack } from './killable-stack.ts'

const GIVE_UP_MS = 60_000
const PAUSE_MS = 60

export interface Insisted {
  answer: Answer
  /** How often it was sent before, and may have had its effect without anybody knowing. */
  uncertain: number
}

/** How often requests were sent again, over all clients of a run. */
export interface Retries {
  cutOff: number
  unavailable: number
}

export class PersistentClient {
  readonly #stack: KillableStack
  readonly #bearer: Bearer
  readonly #random: Random
  readonly #retries: Retries

  constructor(stack: KillableStack, random: Random, retries: Retries) {
    this.#stack = stack
    this.#bearer = bearer(stack.url)
    this.#random = random
    this.#retries = retries
  }

  /**
   * Sends a request until it is answered, and not with 503. What says that something was done, or refused, holds also
   * when it came while the runtime was being killed: only a failure may be the killing's own.
   */
  async insist(method: string, path: string, options: RequestOptions = {}): Promise<Insisted> {
    let uncertain = 0
    let last = 'no answer'
    for (
      const deadline = Date.now() + GIVE_UP_MS;
      Date.now() < deadline;
      await sleep(this.#random.fraction() * PAUSE_MS)
    ) {
      const killsBefore = this.#stack.kills
      const answer = await this.#send(method, path, options)
      if (answer === 'nobody there') continue
      if (answer === 'cut off' || (answer.status >= 500 && this.#stack.kills !== killsBefore)) {
        this.#retries.cutOff++
        uncertain++
      } else if (answer.status === 503) {
        this.#retries.unavailable++
        last = answer.text
        if (answer.text.includes('"OUTCOME_UNKNOWN"')) uncertain++
      } else return { answer, uncertain }
    }
    throw new Error(`${method} ${path} came to nothing in ${GIVE_UP_MS} ms: ${last}`)
  }

  async #send(method: string, path: string, options: RequestOptions): Promise<Answer | 'cut off' | 'nobody there'> {
    try {
      return await this.#bearer.request(method, path, options)
    } catch (error) {
      return (error as { cause?: { code?: string } }).cause?.code === 'ECONNREFUSED' ? 'nobody there' : 'cut off'
    }
  }
}

const sleep = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms))

/** A client that retries through crashes. */
import type { Random } from '../../src/core/random.ts'
import { type Answer, type Bearer, bearer, type RequestOptions } from './http-client.ts'
import type { KillableStack } from './killable-stack.ts'

const GIVE_UP_MS = 60_000
const PAUSE_MS = 60

export interface Insisted {
  answer: Answer
  /** The number of earlier sends whose outcome is unknown. */
  uncertain: number
}

/** The number of retries, over all clients of a run. */
export interface Retries {
  interrupted: number
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
   * Sends a request until it gets an answer other than 503. An answer that reports success or refusal counts even if
   * the runtime was being killed; only a failure may be caused by the kill.
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
      if (answer === 'refused') continue
      if (answer === 'interrupted' || (answer.status >= 500 && this.#stack.kills !== killsBefore)) {
        this.#retries.interrupted++
        uncertain++
      } else if (answer.status === 503) {
        this.#retries.unavailable++
        last = answer.text
        if (answer.text.includes('"OUTCOME_UNKNOWN"')) uncertain++
      } else return { answer, uncertain }
    }
    throw new Error(`${method} ${path} got no final answer within ${GIVE_UP_MS} ms: ${last}`)
  }

  async #send(method: string, path: string, options: RequestOptions): Promise<Answer | 'interrupted' | 'refused'> {
    try {
      return await this.#bearer.request(method, path, options)
    } catch (error) {
      return (error as { cause?: { code?: string } }).cause?.code === 'ECONNREFUSED' ? 'refused' : 'interrupted'
    }
  }
}

const sleep = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms))

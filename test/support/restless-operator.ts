/** An operator who moves slots back and forth, and reverses or cancels moves. */
import type { Random } from '../../src/core/random.ts'
import type { PersistentClient } from './persistent-client.ts'
import { OPERATOR_TOKEN } from './stack.ts'

const GIVE_UP_MS = 60_000
const POLL_MS = 100
const ABORT_WITHIN_MS = 300

export interface MoveAnswer {
  id: string
  state: string
  slots: string
  ending?: string
  error?: string
}

/** Slots that are always moved together. */
export interface MovableSlots {
  keyspace: 'users' | 'claims'
  slots: string
}

const headers = { authorization: `Bearer ${OPERATOR_TOKEN}` }
const MOVES = '/operator/v1/moves'
const OVER = ['done', 'aborted', 'failed']

export class RestlessOperator {
  readonly violations: string[] = []
  readonly counts = { aborts: 0, reverses: 0, completions: 0 }
  readonly #client: PersistentClient
  readonly #random: Random
  readonly #shards: string[]
  readonly #movable: MovableSlots[]

  constructor(client: PersistentClient, random: Random, shards: string[], movable: MovableSlots[]) {
    this.#client = client
    this.#random = random
    this.#shards = shards
    this.#movable = movable
  }

  /** Starts a move or changes an open one. A refusal because of the move's state is accepted. */
  async step(): Promise<void> {
    const draw = this.#random.fraction()
    if (draw < 0.6) return this.#plan()
    const open = await this.#open()
    const settling = this.#drawn(open.filter(({ state, ending }) => state === 'settling' && !ending))
    const early = this.#drawn(open.filter(({ state }) => state !== 'settling' && state !== 'purging'))
    if (draw < 0.85 && settling) return this.#steer(settling, 'complete', 'completions')
    if (draw < 0.93 && settling) return this.#steer(settling, 'reverse', 'reverses')
    if (early) return this.#steer(early, 'abort', 'aborts')
  }

  /** Ends the moves that can be ended and waits for the others. Resolves to all moves. */
  async finish(): Promise<MoveAnswer[]> {
    for (const deadline = Date.now() + GIVE_UP_MS; ; await sleep(POLL_MS)) {
      const open = await this.#open()
      if (open.length === 0) return this.#list()
      if (Date.now() > deadline) throw new Error(`Moves that did not end: ${JSON.stringify(open)}`)
      for (const move of open) if (move.state === 'settling') await this.#steer(move, 'complete', 'completions')
    }
  }

  async #plan(): Promise<void> {
    const json = { ...this.#drawn(this.#movable)!, target: this.#drawn(this.#shards)! }
    const { answer } = await this.#client.insist('POST', MOVES, { headers, json })
    if (answer.status === 409) return
    if (answer.status !== 202) {
      this.violations.push(`${JSON.stringify(json)}: ${answer.status} ${answer.text}`)
      return
    }
    // Most moves are past their commit by the time the list is read again.
    const [move] = answer.json<{ moves: MoveAnswer[] }>().moves
    if (!move || this.#random.fraction() > 0.2) return
    await sleep(this.#random.fraction() * ABORT_WITHIN_MS)
    await this.#steer(move, 'abort', 'aborts')
  }

  async #steer(move: MoveAnswer, verb: string, counted: keyof RestlessOperator['counts']): Promise<void> {
    const { answer } = await this.#client.insist('POST', `${MOVES}/${move.id}/${verb}`, { headers })
    if (answer.status === 202) this.counts[counted]++
    else if (answer.status !== 409) this.violations.push(`${verb} ${move.id}: ${answer.status} ${answer.text}`)
  }

  async #open(): Promise<MoveAnswer[]> {
    return (await this.#page('')).items.filter(({ state }) => !OVER.includes(state))
  }

  async #list(): Promise<MoveAnswer[]> {
    const moves: MoveAnswer[] = []
    for (let cursor: string | null = ''; cursor !== null; ) {
      const page: { items: MoveAnswer[]; next: string | null } = await this.#page(cursor)
      moves.push(...page.items)
      cursor = page.next
    }
    return moves
  }

  /** The newest page has all open moves, because there are fewer than the ranges that move. */
  async #page(cursor: string): Promise<{ items: MoveAnswer[]; next: string | null }> {
    const { answer } = await this.#client.insist('GET', `${MOVES}?limit=100&cursor=${cursor}`, { headers })
    if (answer.status !== 200) throw new Error(`The list of moves answered ${answer.status}: ${answer.text}`)
    return answer.json()
  }

  #drawn<T>(from: T[]): T | undefined {
    return from[Math.floor(this.#random.fraction() * from.length)]
  }
}

const sleep = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms))

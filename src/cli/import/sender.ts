import { setTimeout as sleep } from 'node:timers/promises'
import type { Connection } from '../shell/client.ts'
import { NotNow, UserError } from '../shell/errors.ts'
import type { Timer } from '../shell/screen.ts'
import type { ImportRecord } from './records.ts'

export const IMPORTS = '/operator/v1/imports'

export interface ImportOutcome {
  externalId: string
  outcome: 'imported' | 'there' | 'refused' | 'busy'
  id: string | null
  hasPassword: boolean
  code?: string
  detail?: string
}

/** Its milliseconds are since 1970. */
export const systemTimer: Timer = { now: () => Math.floor(performance.timeOrigin + performance.now()), sleep }

const LOST_MS_MAX = 30_000
/** Without any user decided. A reservation of a sign-up that came to nothing lasts a minute. */
const BUSY_MS_MAX = 90_000
const WAIT_MS_FIRST = 500
const WAIT_MS_MAX = 4_000

/** Sends to a server that may be away for a while. All that is sent may be sent again. */
export class Sender {
  readonly #connection: Connection
  readonly #say: (text: string) => void
  readonly #timer: Timer
  #lostAt: number | null = null

  constructor(connection: Connection, say: (text: string) => void, timer: Timer = systemTimer) {
    this.#connection = connection
    this.#say = say
    this.#timer = timer
  }

  /** One request. A server that doesn't answer is asked again for 30 s. */
  async post<T>(path: string, body: object): Promise<T> {
    for (let tries = 0; ; tries++) {
      try {
        const answer = await this.#connection.post<T>(path, body)
        if (this.#lostAt !== null) this.#say('It answers again.')
        this.#lostAt = null
        return answer
      } catch (error) {
        if (!(error instanceof NotNow)) throw error
        if (this.#lostAt === null) this.#say(`${error.message} Trying again for ${LOST_MS_MAX / 1_000} s.`)
        this.#lostAt ??= this.#timer.now()
        if (this.#timer.now() - this.#lostAt >= LOST_MS_MAX)
          throw new UserError(
            error.message,
            'When it answers, run the same command again: it goes on where it stopped.',
          )
        await this.#timer.sleep(waitMs(tries))
      }
    }
  }

  /** Imports users. Those that are busy are sent again, for 90 s after one was decided; resolves when each is. */
  async importUsers(source: string, users: ImportRecord[]): Promise<ImportOutcome[]> {
    const decided = new Map<string, ImportOutcome>()
    let progressAt = this.#timer.now()
    let waiting = users
    for (let tries = 0; ; tries++) {
      const { items } = await this.post<{ items: ImportOutcome[] }>(IMPORTS, { source, users: waiting })
      for (const item of items) if (item.outcome !== 'busy') decided.set(item.externalId, item)
      const busy = items.filter(({ outcome }) => outcome === 'busy')
      if (busy.length < items.length) progressAt = this.#timer.now()
      waiting = waiting.filter(({ externalId }) => !decided.has(externalId))
      if (waiting.length === 0) return users.map(({ externalId }) => decided.get(externalId)!)
      const [{ externalId, code, detail }] = busy as [ImportOutcome]
      if (this.#timer.now() - progressAt >= BUSY_MS_MAX)
        throw new UserError(
          `${busy.length} users could not be imported for ${BUSY_MS_MAX / 1_000} s; of ${externalId}: ${code}: ${detail}`,
          'Nothing is lost. Run the same command again in a minute: it goes on where it stopped.',
        )
      if (code !== 'TOO_MANY') await this.#timer.sleep(waitMs(tries))
    }
  }
}

const waitMs = (tries: number): number => Math.min(WAIT_MS_MAX, WAIT_MS_FIRST * 2 ** tries)

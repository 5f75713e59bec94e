import { setTimeout as sleep } from 'node:timers/promises'
import { present } from '../../core/present.ts'
import type { Connection } from '../shell/client.ts'
import { NotNow, UserError } from '../shell/errors.ts'
import type { Timer } from '../shell/screen.ts'
import type { Importer, ImportOutcome, ImportRecord, ImportVerification } from './noun.ts'

/** Milliseconds since 1970. */
export const systemTimer: Timer = { now: () => Math.floor(performance.timeOrigin + performance.now()), sleep }

const LOST_MS_MAX = 30_000
/** Limit of the time in which no user is decided. The reservation of an abandoned sign-up lasts a minute. */
const BUSY_MS_MAX = 90_000
const WAIT_MS_FIRST = 500
const WAIT_MS_MAX = 4_000

/** Sends records, and retries while the server is unavailable. Records may be sent again without harm. */
export class Sender<R extends ImportRecord, O extends ImportOutcome> {
  readonly #importer: Pick<Importer<R, O>, 'send' | 'verify'>
  readonly #connection: Connection
  readonly #say: (text: string) => void
  readonly #timer: Timer
  #lostAt: number | null = null

  constructor(
    importer: Pick<Importer<R, O>, 'send' | 'verify'>,
    connection: Connection,
    say: (text: string) => void,
    timer: Timer = systemTimer,
  ) {
    this.#importer = importer
    this.#connection = connection
    this.#say = say
    this.#timer = timer
  }

  /** Sends a request, and retries for 30 s if the server does not answer. */
  #post = async <T>(path: string, body: object): Promise<T> => {
    for (let tries = 0; ; tries++) {
      try {
        const answer = await this.#connection.post<T>(path, body)
        if (this.#lostAt !== null) this.#say('The server answers again.')
        this.#lostAt = null
        return answer
      } catch (error) {
        if (!(error instanceof NotNow)) throw error
        if (this.#lostAt === null) this.#say(`${error.message} Retrying for ${LOST_MS_MAX / 1_000} s.`)
        this.#lostAt ??= this.#timer.now()
        if (this.#timer.now() - this.#lostAt >= LOST_MS_MAX)
          throw new UserError(error.message, 'When the server answers again, run the same command again to resume.')
        await this.#timer.sleep(waitMs(tries))
      }
    }
  }

  /** Imports records, and resolves when each is decided. Sends busy records again, for up to 90 s without progress. */
  async importRecords(source: string, records: R[]): Promise<O[]> {
    const decided = new Map<string, O>()
    let progressAt = this.#timer.now()
    let waiting = records
    for (let tries = 0; ; tries++) {
      const items = await this.#importer.send(this.#post, source, waiting)
      for (const item of items) if (item.outcome !== 'busy') decided.set(item.externalId, item)
      const busy = items.filter(({ outcome }) => outcome === 'busy')
      if (busy.length < items.length) progressAt = this.#timer.now()
      waiting = waiting.filter(({ externalId }) => !decided.has(externalId))
      const [first] = busy
      if (waiting.length === 0 || !first) return inOrder(records, decided)
      const { externalId, code, detail } = first
      if (this.#timer.now() - progressAt >= BUSY_MS_MAX)
        throw new UserError(
          `The server could not import ${busy.length} users for ${BUSY_MS_MAX / 1_000} s. The reason for ${externalId} is ${code}: ${detail}`,
          'Nothing is lost. Run the same command again in a minute to resume.',
        )
      if (code !== 'TOO_MANY') await this.#timer.sleep(waitMs(tries))
    }
  }

  /** Asks the server to verify records that were sent. */
  verifyRecords(source: string, records: R[]): Promise<ImportVerification[]> {
    return this.#importer.verify(this.#post, source, records)
  }
}

function inOrder<O extends ImportOutcome>(records: ImportRecord[], decided: Map<string, O>): O[] {
  return records.map(({ externalId }) => present(decided.get(externalId), `the server's answer for ${externalId}`))
}

const waitMs = (tries: number): number => Math.min(WAIT_MS_MAX, WAIT_MS_FIRST * 2 ** tries)

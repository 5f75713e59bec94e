import { setTimeout as sleep } from 'node:timers/promises'
import type { Connection } from '../shell/client.ts'
import { NotNow, UserError } from '../shell/errors.ts'
import type { Timer } from '../shell/screen.ts'
import type { Importer, ImportOutcome, ImportRecord, ImportVerification } from './noun.ts'

/** Its milliseconds are since 1970. */
export const systemTimer: Timer = { now: () => Math.floor(performance.timeOrigin + performance.now()), sleep }

const LOST_MS_MAX = 30_000
/** Without any user decided. A reservation of a sign-up that came to nothing lasts a minute. */
const BUSY_MS_MAX = 90_000
const WAIT_MS_FIRST = 500
const WAIT_MS_MAX = 4_000

/** Sends to a server that may be away for a while. All that is sent may be sent again. */
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

  /** One request. A server that doesn't answer is asked again for 30 s. */
  #post = async <T>(path: string, body: object): Promise<T> => {
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

  /** Imports records. Those that are busy are sent again, for 90 s after one was decided; resolves when each is. */
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
          `${busy.length} users could not be imported for ${BUSY_MS_MAX / 1_000} s; of ${externalId}: ${code}: ${detail}`,
          'Nothing is lost. Run the same command again in a minute: it goes on where it stopped.',
        )
      if (code !== 'TOO_MANY') await this.#timer.sleep(waitMs(tries))
    }
  }

  /** What the server says of records that were sent. */
  verifyRecords(source: string, records: R[]): Promise<ImportVerification[]> {
    return this.#importer.verify(this.#post, source, records)
  }
}

function inOrder<O extends ImportOutcome>(records: ImportRecord[], decided: Map<string, O>): O[] {
  return records.map(({ externalId }) => {
    const outcome = decided.get(externalId)
    if (!outcome) throw new Error(`the server has not answered for ${externalId}`)
    return outcome
  })
}

const waitMs = (tries: number): number => Math.min(WAIT_MS_MAX, WAIT_MS_FIRST * 2 ** tries)

import type { KvStore } from '../cache/kv-store.ts'
import { type Clock, DAY_MS } from '../core/clock.ts'
import { limits } from '../core/limits.ts'
import type { Mail, SendMail } from '../jobs/mail.ts'

/** A mail that was sent, with its time (ms). */
export interface SentMail extends Mail {
  at: number
}

const PREFIX = 'mail-preview:'

/** KV lists keys in the order of their bytes, so this number makes the newest mail the first. */
const countdown = (at: number): string => String(9_999_999_999_999 - at).padStart(13, '0')

const ID = /^\d{13}-[0-9a-z]{1,40}$/

/** The mails of the last day, in KV, for local development (docs/operating/settings.md, MAIL_PREVIEWS). */
export class MailPreviews {
  readonly #store: KvStore
  readonly #clock: Clock

  constructor(store: KvStore, clock: Clock) {
    this.#store = store
    this.#clock = clock
  }

  /** Sends as `send` does, and keeps a copy of each mail that was sent. A copy that fails loses no mail. */
  keeping(send: SendMail): SendMail {
    return async (mail) => {
      await send(mail)
      const at = this.#clock.now()
      await this.#store.put(`${PREFIX}${countdown(at)}-${mail.messageId}`, { ...mail, at }, DAY_MS / 1_000)
    }
  }

  /** The newest mails by their ids, newest first. */
  async newest(): Promise<[id: string, SentMail][]> {
    const keys = await this.#store.keys(PREFIX, limits.mailPreviewsMax)
    const texts = await this.#store.getTexts(keys)
    return keys.flatMap((key) => {
      const text = texts.get(key)
      return text === undefined ? [] : [[key.slice(PREFIX.length), JSON.parse(text) as SentMail]]
    })
  }

  async find(id: string): Promise<SentMail | null> {
    return ID.test(id) ? this.#store.get<SentMail>(`${PREFIX}${id}`) : null
  }
}

import type { Clock } from '../core/clock.ts'
import type { IdSource } from '../core/ids.ts'
import { limits } from '../core/limits.ts'
import type { Log } from '../core/log.ts'
import type { Allowance } from '../sharding/statement-budget.ts'
import { consume, readJob } from './consumer.ts'
import type { Dispatch } from './dispatch.ts'
import type { JobKinds } from './kinds.ts'
import { type Job, newJob } from './outbox.ts'

const KIND = 'cache.purge'

/**
 * Purges the shared pages with these tags: one call of the platform, or none without tags. Resolves to `no cache` if
 * the runtime has none, as locally. Throws if the platform refuses the call.
 */
export type PurgePages = (tags: string[]) => Promise<'purged' | 'no cache'>

/**
 * The job that purges the shared pages with this tag, after a deletion or a change of who may see something. Write it
 * in the batch of the change, and `follow` it after the commit. Empty if nothing is cached. @public For nouns.
 */
export const purgesOf = (
  { settings, ids, clock }: { settings: { cache: 'on' | 'off' }; ids: IdSource; clock: Clock },
  ownerId: string,
  tag: string,
): Job[] => (settings.cache === 'on' ? [newJob(ids, clock, ownerId, KIND, { tag })] : [])

const tagOf = ({ body }: Job): string => String(body.tag)

/** Purges pages for jobs. The jobs of one batch share one call, because the platform allows five calls per minute. */
export class Purger {
  readonly #purge: PurgePages
  #tags: ReadonlySet<string> = new Set()
  #outcome: ReturnType<PurgePages> | null = null

  constructor(purge: PurgePages) {
    this.#purge = purge
  }

  /** False if there is nothing to purge. */
  async hasCache(): Promise<boolean> {
    return (await this.#purge([]).catch(() => 'unknown')) !== 'no cache'
  }

  /** Makes one call for all of these tags. Their jobs get its outcome. Never throws. */
  async gather(tags: ReadonlySet<string>): Promise<'purged' | 'no cache' | 'failed'> {
    this.#tags = tags
    this.#outcome = this.#purge([...tags])
    return this.#outcome.catch(() => 'failed')
  }

  async run(tag: string): Promise<void> {
    await (this.#outcome && this.#tags.has(tag) ? this.#outcome : this.#purge([tag]))
  }
}

export const purgeKinds = (purger: Purger): JobKinds => ({
  [KIND]: {
    queue: 'purges',
    attemptsMax: 10,
    backoffBaseSeconds: 15,
    run: (job) => purger.run(tagOf(job)),
  },
})

export interface PurgeWork {
  dispatch: Dispatch
  purger: Purger
  clock: Clock
  log: Log
  budget?: Allowance
}

/**
 * Consumes a batch of purges with one call, and then waits until the next call may follow. The queue has one consumer
 * at a time, so at most five calls per minute are made. A failed call counts, too. Waiting costs no CPU.
 *
 * Another isolate may still have the deleted row in its cache, and render the page from it after the purge. So the tag
 * of a recent deletion is purged again once no isolate shows the row.
 */
export async function consumePurges(batch: MessageBatch, work: PurgeWork): Promise<void> {
  const { dispatch, purger, clock, log, budget } = work
  const jobs = batch.messages.flatMap(({ body }) => readJob(body) ?? [])
  if (jobs.length === 0 || (await dispatch.isPaused(KIND)) || !(await purger.hasCache()))
    return consume(batch, dispatch, log, budget)
  const tags = new Set(jobs.map(tagOf))
  const outcome = await purger.gather(tags)
  const calledAt = clock.now()
  // A job is sent after its commit.
  const ageMs = ({ timestamp }: Message) => calledAt - timestamp.getTime()
  const isRecent = (message: Message) => ageMs(message) < limits.purgeAgainMs
  for (const message of batch.messages.filter(isRecent)) {
    const delayMs = Math.min(limits.purgeAgainMs, limits.purgeAgainMs - ageMs(message))
    message.retry({ delaySeconds: Math.ceil(delayMs / 1_000) })
  }
  const old = batch.messages.filter((message) => !isRecent(message))
  await consume({ ...batch, messages: old }, dispatch, log, budget)
  log.info('pages.purged', { tags: tags.size, outcome })
  await clock.sleep(Math.max(0, calledAt + limits.purgeApartMs - clock.now()))
}

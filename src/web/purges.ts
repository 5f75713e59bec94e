import type { Job } from '../jobs/outbox.ts'
import { newPurge } from '../jobs/purges.ts'
import type { Tiers } from './context.ts'

/**
 * The job that purges the shared pages with this tag, after a deletion or a change of who may see something. Write it
 * in the batch of the change, and `follow` it after the commit. Empty if nothing is cached.
 */
export const purgesOf = (
  { settings, ids, clock }: Pick<Tiers, 'settings' | 'ids' | 'clock'>,
  ownerId: string,
  tag: string,
): Job[] => (settings.cache === 'on' ? [newPurge(ids, clock, ownerId, tag)] : [])

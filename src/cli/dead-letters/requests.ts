import type { LettersTaken } from '../../console/shapes.ts'
import type { Connection } from '../shell/client.ts'
import { UserError } from '../shell/errors.ts'
import { counted } from '../shell/table.ts'

export const DEAD_LETTERS = '/operator/v1/dead-letters'
const IDS_MAX = 100

export const idOperands = [{ name: 'ID', help: 'ids of dead letters, from dead-letters list', isList: true }] as const

/** Which letters to take. Throws UserError if none are chosen. */
export function filterOf(verb: 'redrive' | 'discard', ids: string[], kind: string | undefined) {
  if (ids.length === 0 && kind === undefined)
    throw new UserError(
      `dead-letters ${verb} needs ids or a kind.`,
      `Pass ids from dead-letters list, or a kind, for example: npm run banyan -- dead-letters ${verb} --kind cache.purge`,
    )
  return { ids, kind }
}

/** Repeats the request until no letters remain, or until it makes no progress. Ids are sent a hundred at a time. */
export async function takeLetters(
  connection: Pick<Connection, 'post'>,
  verb: 'redrive' | 'discard',
  { ids, kind }: { ids: string[]; kind: string | undefined },
): Promise<LettersTaken> {
  const chosen = [...new Set(ids)]
  const parts: (string[] | undefined)[] =
    chosen.length === 0
      ? [undefined]
      : Array.from({ length: Math.ceil(chosen.length / IDS_MAX) }, (_, part) =>
          chosen.slice(part * IDS_MAX, (part + 1) * IDS_MAX),
        )
  const all: LettersTaken = { count: 0, tooOld: 0, remaining: false, failed: [] }
  for (const part of parts)
    for (let isMore = true; isMore; ) {
      const taken = await connection.post<LettersTaken>(`${DEAD_LETTERS}/${verb}`, { ids: part, kind })
      all.count += taken.count
      all.tooOld += taken.tooOld
      all.remaining = taken.remaining
      all.failed = [...new Set([...all.failed, ...taken.failed])].toSorted()
      isMore = taken.remaining && taken.count > 0
    }
  return all
}

/** What the shards that failed, the jobs that are too old and the letters that remain mean. */
export function leftText({ tooOld, remaining, failed }: LettersTaken): string {
  const old = `${counted(tooOld, 'job')} ${tooOld === 1 ? 'is' : 'are'} older than 29 days and cannot run again. Check whether the effect happened; if it is missing, make the change again. Then discard the letters: npm run banyan -- dead-letters discard --help`
  const missed = `These shards did not answer, and their letters stay: ${failed.join(', ')}. Run the command again when they do.`
  const more = 'More letters remain. Run the command again.'
  return [
    ...(tooOld > 0 ? [old] : []),
    ...(failed.length > 0 ? [missed] : []),
    ...(remaining && failed.length === 0 ? [more] : []),
  ]
    .map((text) => `\n${text}`)
    .join('')
}

import { existsSync, readFileSync, rmSync } from 'node:fs'
import { replaceFile } from '../shell/replace-file.ts'
import type { Listed } from './noun.ts'
import type { Revoked } from './revoked-rows.ts'
import type { Ownership } from './shard-ownership.ts'

interface Begun {
  shard: string
  databaseId: string
  /** RFC 3339. */
  to: string
}

/**
 * Written before the first change, and again after the shard was brought back. The shard's content may still change.
 */
interface TakenOut extends Begun {
  stage: 'taken-out'
}

/** Written before the time travel: the state read while there are no writes and no moves. `wayBack` is a bookmark. */
export interface Travelling extends Begun, Ownership {
  stage: 'travelling'
  wayBack: string
  /** The noted rows with credentials; the file stores them under the noun's name. Earlier versions noted none. */
  noted?: NotedRows
  /** Set after they are compared. A second comparison, after the versions were raised, would find fewer. */
  listed?: Listed
}

export interface NotedRows {
  /** The salt of their digests. */
  salt: string
  count: number
}

/**
 * Written before the shard returns to service. Then it may get new writes, so this restore does not change it any more.
 */
export interface Reconciled extends Begun, Ownership {
  stage: 'reconciled'
  wayBack: string
  /** Number of migrations applied again. */
  migrated: number
  /** Revived rows that were ended. Earlier versions ended none. */
  ended?: Ended
}

export interface Ended {
  revoked: Revoked
  listed: Listed
}

/** The position of a restore, so that an interrupted run can be resumed or abandoned. */
export type Note = TakenOut | Travelling | Reconciled

/** The note, and the files beside it. */
export class NoteFile {
  readonly file: string
  readonly #rows: string

  /** `rows`: the name of the rows with credentials in the note and in file names. */
  constructor(file: string, rows = 'rows') {
    this.file = file
    this.#rows = rows
  }

  read(): Note | null {
    if (!existsSync(this.file)) return null
    const { [this.#rows]: noted, ...rest } = JSON.parse(readFileSync(this.file, 'utf8')) as Record<string, unknown>
    return { ...rest, ...(noted ? { noted } : {}) } as unknown as Note
  }

  keep<N extends Note>(note: N): N {
    const { noted, ...rest }: N & { noted?: NotedRows } = note
    replaceFile(this.file, JSON.stringify(noted ? { ...rest, [this.#rows]: noted } : rest), 0o600)
    return note
  }

  forget(): void {
    rmSync(this.before, { force: true })
    rmSync(this.file, { force: true })
  }

  /** The rows with credentials as they were before the restore. Deleted with the note. */
  get before(): string {
    return this.#beside(`${this.#rows}-before`)
  }

  /** The rows that the operator must check. Kept. */
  get listed(): string {
    return this.#beside(this.#rows)
  }

  /** The inconsistent claims. Kept. */
  get claims(): string {
    return this.#beside('claims')
  }

  #beside(name: string): string {
    return this.file.replace(/\.json$/, `.${name}.jsonl`)
  }
}

export const goOn = ({ shard, to }: Begun): string => `npm run banyan -- restore ${shard} --to ${to}`
export const giveUp = (shard: string): string => `npm run banyan -- restore ${shard} --abandon`

/** After an interruption: the state of the shard, and the commands to resume and to abandon. */
export function standing(note: Note): string {
  const { shard, to } = note
  const states: Record<Note['stage'], string> = {
    'taken-out': `${shard} was taken out of service (its users get 503), or was about to be. Its data was not restored.`,
    travelling: `${shard} is out of service (its users get 503). Its data may already be restored to ${to}.`,
    reconciled: `${shard} is restored to ${to}. It is in service again, or was about to be.`,
  }
  return `${states[note.stage]}\nTo resume: ${goOn(note)}\nTo abandon the restore: ${giveUp(shard)}`
}

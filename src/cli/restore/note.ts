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

/** Written before the first change, and again when it was brought back: what the shard has may still change. */
interface TakenOut extends Begun {
  stage: 'taken-out'
}

/** Written before the time travel: what was, read while nobody writes and no move can come. `wayBack` is a bookmark. */
export interface Travelling extends Begun, Ownership {
  stage: 'travelling'
  wayBack: string
  /** The rows with credentials noted before, in the file under their own name. An older version noted none. */
  noted?: NotedRows
  /** Set once they are compared: to compare them again, after their versions were raised, would find fewer. */
  listed?: Listed
}

export interface NotedRows {
  /** Of their digests. */
  salt: string
  count: number
}

/** Written before it is put into service. From then on it may have new writes, and is not taken back by this restore. */
export interface Reconciled extends Begun, Ownership {
  stage: 'reconciled'
  wayBack: string
  /** How many migrations were applied again. */
  migrated: number
  /** What must not come back and was ended. An older version ended nothing. */
  ended?: Ended
}

export interface Ended {
  revoked: Revoked
  listed: Listed
}

/** The place of a restore, so that a run that was cut off can be gone on with, or given up. */
export type Note = TakenOut | Travelling | Reconciled

/** The note, and the files beside it. */
export class NoteFile {
  readonly file: string
  readonly #rows: string

  /** `rows`: what the rows with credentials are called, in the note and in the names of files. */
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

  /** The rows with credentials as they were before the restore; goes with the note. */
  get before(): string {
    return this.#beside(`${this.#rows}-before`)
  }

  /** Those of them that the operator must look after; stays. */
  get listed(): string {
    return this.#beside(this.#rows)
  }

  /** The claims that do not fit; stays. */
  get claims(): string {
    return this.#beside('claims')
  }

  #beside(name: string): string {
    return this.file.replace(/\.json$/, `.${name}.jsonl`)
  }
}

export const goOn = ({ shard, to }: Begun): string => `npm run banyan -- restore ${shard} --to ${to}`
export const giveUp = (shard: string): string => `npm run banyan -- restore ${shard} --abandon`

/** For who ends it early: in what state it leaves the shard, and both ways from there. */
export function standing(note: Note): string {
  const { shard, to } = note
  const states: Record<Note['stage'], string> = {
    'taken-out': `${shard} was taken out of service (its users get 503), or was about to be. Nothing in it was taken back.`,
    travelling: `${shard} is out of service (its users get 503), and may be as it was at ${to} already.`,
    reconciled: `${shard} is as it was at ${to}; it is in service again, or was about to be.`,
  }
  return `${states[note.stage]}\nTo go on: ${goOn(note)}\nTo give it up: ${giveUp(shard)}`
}

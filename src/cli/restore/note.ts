import { existsSync, readFileSync, rmSync } from 'node:fs'
import { replaceFile } from '../shell/replace-file.ts'
import type { AccountChange } from './restored-accounts.ts'
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
  /** The accounts noted before: the salt of their digests, and how many there are. An older version noted none. */
  accounts?: { salt: string; count: number }
  /** Set once the accounts are compared: to compare them again, after their versions were raised, would find fewer. */
  listed?: Listed
}

/** How many accounts are listed for each change; null where the accounts of before are not known. */
export type Listed = Record<AccountChange, number> | null

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

export const readNote = (file: string): Note | null =>
  existsSync(file) ? (JSON.parse(readFileSync(file, 'utf8')) as Note) : null

export function keepNote<N extends Note>(file: string, note: N): N {
  replaceFile(file, JSON.stringify(note), 0o600)
  return note
}

export function forgetNote(file: string): void {
  rmSync(accountsBeforeFile(file), { force: true })
  rmSync(file, { force: true })
}

/** The accounts as they were before the restore; goes with the note. */
export const accountsBeforeFile = (noteFile: string): string => beside(noteFile, 'accounts-before')
/** The accounts that the operator must look after; stays. */
export const accountsFile = (noteFile: string): string => beside(noteFile, 'accounts')
/** The claims that do not fit; stays. */
export const claimsFile = (noteFile: string): string => beside(noteFile, 'claims')

const beside = (noteFile: string, name: string): string => noteFile.replace(/\.json$/, `.${name}.jsonl`)

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

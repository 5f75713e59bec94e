import { BanyanError } from '../core/errors.ts'
import { limits } from '../core/limits.ts'

/** The engine's settings, read and checked. */
export interface EngineSettings {
  leaseMs: number
  /** How long (ms) a source keeps its rows after a move has committed. */
  graceMs: number
  /** The share of each database's time that a move may use: above 0, at most 1. */
  moveShare: number
  /** How large a shard's database may become. Planning refuses moves that would exceed it. */
  shardBytesMax: number
}

/** The variables in a Worker's `[vars]` that hold these settings. */
export interface EngineVariables {
  LEASE_MS?: string
  GRACE_MS?: string
  MOVE_SHARE?: string
  SHARD_BYTES_MAX?: string
}

/** Reads and checks the engine's settings; each has a default. Throws SETTING_MISSING. */
export function readEngineSettings(variables: EngineVariables): EngineSettings {
  const leaseMs = milliseconds('LEASE_MS', variables.LEASE_MS, 30_000)
  const graceMs = milliseconds('GRACE_MS', variables.GRACE_MS, 300_000)
  if (graceMs <= leaseMs)
    throw new BanyanError('SETTING_MISSING', `GRACE_MS (${graceMs}) must be longer than LEASE_MS (${leaseMs}).`)
  const shardBytesMax = bytes('SHARD_BYTES_MAX', variables.SHARD_BYTES_MAX, limits.shardBytesMax)
  return { leaseMs, graceMs, moveShare: share('MOVE_SHARE', variables.MOVE_SHARE, 0.25), shardBytesMax }
}

function bytes(name: string, value: string | undefined, fallback: number): number {
  const number = value === undefined || value === '' ? fallback : Number(value)
  if (!Number.isSafeInteger(number) || number < 1)
    throw new BanyanError('SETTING_MISSING', `${name} is "${value}"; it must be a number of bytes, like 500000000.`)
  return number
}

function share(name: string, value: string | undefined, fallback: number): number {
  const number = value === undefined || value === '' ? fallback : Number(value)
  if (!(number > 0 && number <= 1))
    throw new BanyanError('SETTING_MISSING', `${name} is "${value}"; it must be above 0 and at most 1.`)
  return number
}

function milliseconds(name: string, value: string | undefined, fallback: number): number {
  const number = value === undefined || value === '' ? fallback : Number(value)
  if (!Number.isSafeInteger(number) || number < 100)
    throw new BanyanError(
      'SETTING_MISSING',
      `${name} is "${value}"; it must be a number of milliseconds, at least 100.`,
    )
  return number
}

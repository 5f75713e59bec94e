/** How evenly four shard keys spread one generated population. */
import { type Random, seededRandom, zipfRank } from '../../src/cli/load/draws.ts'
import { derivedUserId, slotOf } from '../../src/core/ids.ts'
import { present } from '../../src/core/present.ts'

const SHARDS = 8
const USERS = 100_000
const SEED = 9
const MONTHS = 24
/** Each month has a tenth more sign-ups than the month before. */
const GROWTH = 1.1
const COUNTRIES = 60
/** The latest sign-ups, all of the newest month. They show where writes go now. */
const NEWEST = 5_000
const ROWS_MAX = 1_000

/** Roughly how many names in a hundred start with each letter. */
const LETTERS: Record<string, number> = Object.fromEntries(
  'a11 b5 c8 d7 e5 f3 g3 h3 i2 j12 k6 l6 m10 n3 o1 p3 q1 r7 s8 t5 u1 v2 w2 x1 y1 z1'
    .split(' ')
    .map((entry) => [entry.charAt(0), Number(entry.slice(1))]),
)

export interface GeneratedUser {
  id: string
  /** From 0, the oldest. */
  month: number
  country: number
  /** From 0 for `a`. */
  letter: number
  rows: number
}

export interface ShardKey {
  name: string
  /** How many values the key has. */
  values: number
  /** The user's value, from 0. */
  keyOf(user: GeneratedUser): number
}

export const shardKeys: ShardKey[] = [
  { name: 'hash of the user id', values: 65_536, keyOf: ({ id }) => Number.parseInt(slotOf(id), 16) },
  { name: 'sign-up month', values: MONTHS, keyOf: ({ month }) => month },
  { name: 'country', values: COUNTRIES, keyOf: ({ country }) => country },
  { name: 'first letter', values: Object.keys(LETTERS).length, keyOf: ({ letter }) => letter },
]

export interface Spread {
  name: string
  values: number
  /** Rows of the fullest shard, divided by the mean. */
  rows: number
  /** The least that any other placement of the values could reach, because a value cannot be split. */
  bound: number
  /** The same as `rows`, for the latest sign-ups. */
  newest: number
}

/** Users in the order of their sign-up. Countries follow Zipf's law, and a few users have many rows. */
export function generatedUsers(count = USERS, seed = SEED): GeneratedUser[] {
  const random = seededRandom(seed)
  const months = cumulative(Array.from({ length: MONTHS }, (_, month) => GROWTH ** month))
  const letters = cumulative(Object.values(LETTERS))
  // The order of countries by name has nothing to do with their sizes.
  const order = shuffled(random, COUNTRIES)
  const users = Array.from({ length: count }, (_, index) => ({
    id: derivedUserId(index, `user ${index} of population ${seed}`),
    month: drawn(random, months),
    country: present(order[zipfRank(random, COUNTRIES) - 1], 'a country'),
    letter: drawn(random, letters),
    // A Pareto distribution: half of the users have at most two rows, one in a hundred has a hundred or more.
    rows: Math.min(ROWS_MAX, Math.floor(1 / (1 - random()))),
  }))
  return users.sort((a, b) => a.month - b.month)
}

/** Each shard gets the same number of the key's values, in order, as with the slots of Banyan. */
export function spreadOf({ name, values, keyOf }: ShardKey, users: readonly GeneratedUser[]): Spread {
  const shardOf = (user: GeneratedUser) => Math.floor((keyOf(user) * SHARDS) / values)
  const rowsOf = ({ rows }: GeneratedUser) => rows
  const byValue = sums(users, values, keyOf, rowsOf)
  const mean = byValue.reduce((sum, rows) => sum + rows, 0) / SHARDS
  return {
    name,
    values,
    rows: unevenness(sums(users, SHARDS, shardOf, rowsOf)),
    bound: Math.max(1, Math.max(...byValue) / mean),
    newest: unevenness(sums(users.slice(-NEWEST), SHARDS, shardOf, () => 1)),
  }
}

const unevenness = (shards: number[]): number =>
  Math.max(...shards) / (shards.reduce((sum, one) => sum + one, 0) / shards.length)

/** Sums by index. */
function sums(
  users: readonly GeneratedUser[],
  count: number,
  indexOf: (user: GeneratedUser) => number,
  amountOf: (user: GeneratedUser) => number,
): number[] {
  const totals = new Array<number>(count).fill(0)
  for (const user of users) totals[indexOf(user)] = (totals[indexOf(user)] ?? 0) + amountOf(user)
  return totals
}

function cumulative(weights: number[]): number[] {
  let sum = 0
  return weights.map((weight) => {
    sum += weight
    return sum
  })
}

/** An index with a probability proportional to its weight. */
function drawn(random: Random, ends: number[]): number {
  const at = random() * present(ends.at(-1), 'the sum of the weights')
  return ends.findIndex((end) => at < end)
}

function shuffled(random: Random, count: number): number[] {
  const all = Array.from({ length: count }, (_, index) => index)
  for (let last = count - 1; last > 0; last--) {
    const other = Math.floor(random() * (last + 1))
    const [a, b] = [present(all[last], 'an index'), present(all[other], 'an index')]
    all[last] = b
    all[other] = a
  }
  return all
}

export const spreadsHead = ['shard key', 'values', 'rows', 'best possible', 'latest sign-ups']

export const spreadRow = ({ name, values, rows, bound, newest }: Spread): string[] => [
  name,
  values.toLocaleString('en'),
  ...[rows, bound, newest].map((figure) => figure.toFixed(2)),
]

/** `100,000 generated users on 8 shards` */
export const POPULATION = `${USERS.toLocaleString('en')} generated users on ${SHARDS} shards`

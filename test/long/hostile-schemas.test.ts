import { expect, test } from 'vitest'
import { slotText } from '../../src/core/ids.ts'
import { bootedFleet } from '../support/fleet.ts'
import { moveHostile } from '../support/hostile-moves.ts'
import { drawSchema } from '../support/hostile-schemas.ts'
import { seededRandom } from '../support/sharding-doubles.ts'

test('500 hostile schemas: each table moves exactly under writes, or the generator refuses it with a reason', async () => {
  const fleet = await bootedFleet()
  let moved = 0
  let refused = 0
  for (let seed = 1_000; seed < 1_500; seed++) {
    const random = seededRandom(seed)
    const tables = drawSchema(random)
    const outcome = await moveHostile(fleet, tables, slotText(2 * (seed - 999)), random).catch((error: unknown) => {
      throw new Error(`seed ${seed}`, { cause: error })
    })
    expect(outcome.moved + outcome.refused, `seed ${seed}`).toBe(tables.length)
    moved += outcome.moved
    refused += outcome.refused
  }
  expect(moved).toBeGreaterThan(800)
  expect(refused).toBeGreaterThan(50)
  console.log(`${moved} tables moved, ${refused} were refused`)
})

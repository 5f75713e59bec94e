import { afterEach, expect, test } from 'vitest'
import { type CliOnDouble, cliOn } from '../support/platform/cli-run.ts'
import { type PlatformDouble, startPlatform } from '../support/platform/double.ts'
import { cleanRun, deployTwice } from '../support/platform/faulty-deployments.ts'
import { faults } from '../support/platform/http.ts'

test('every fault at every call, and an end at every call: the next run reaches the same state as a clean one', async () => {
  const { snapshot, calls } = await cleanRun()
  for (let number = 1; number <= calls; number++)
    for (const fault of [...faults, 'unreachable from here on'] as const) await deployTwice(number, fault, snapshot)
})

const open: { platform: PlatformDouble; cli: CliOnDouble }[] = []

afterEach(async () => {
  for (const { platform, cli } of open.splice(0)) {
    cli.close()
    await platform.close()
  }
})

async function openWorld(): Promise<{ platform: PlatformDouble; cli: CliOnDouble }> {
  const platform = await startPlatform({ serving: 'stand-in' })
  const world = { platform, cli: cliOn(platform, 'long') }
  open.push(world)
  return world
}

/** The last things that wrangler changes: the assets, the script, and its triggers. */
test('the real wrangler, with the answer of each changing call lost after its effect: the next run succeeds', async () => {
  const { platform, cli } = await openWorld()
  expect((await cli.run('deploy')).exitCode).toBe(0)
  const changing = platform.calls
    .map((call, index) => ({ ...call, number: index + 1 }))
    .filter(({ isWrangler, method }) => isWrangler && method !== 'GET')
  expect(changing.length).toBeGreaterThanOrEqual(9)
  const clean = await comparable(platform)
  for (const { number, method, path } of changing) {
    const world = await openWorld()
    world.platform.failAt(number, 'lost after')
    const first = await world.cli.run('deploy')
    const what = `${method} ${path}: ${first.stderr}`
    expect(first.stderr, what).not.toMatch(/\n\s+at /)
    world.platform.recover()
    const second = await world.cli.run('deploy')
    expect(second.exitCode, `${what}\n${second.stderr}`).toBe(0)
    expect(await comparable(world.platform), what).toEqual(clean)
  }
})

/** Without the address and the values derived from it, which differ between doubles. */
async function comparable(platform: PlatformDouble): Promise<unknown> {
  const text = JSON.stringify(await platform.snapshot())
  return JSON.parse(text.replaceAll(platform.siteUrl, 'address').replaceAll(/banyan-[0-9a-f]{16}/g, 'tag'))
}

/**
 * `npm run journey [-- --stage N]`: runs the same code through the guide's implemented stages, and prints for each what
 * it adds: calls per request, p99, what fails and what does not. Exits 1 if a stage does not behave as described.
 */

import { table } from '../../src/cli/shell/table.ts'
import { configFor } from '../../src/cli/wrangler/local-shards.ts'
import { present } from '../../src/core/present.ts'
import { Cluster } from '../cluster/cluster.ts'
import { readOptions } from '../options.ts'
import { Load, type Person, summaryHead } from './load.ts'
import type { Stage } from './stage.ts'
import { loadBalancer } from './stages/load-balancer.ts'
import { oneServer } from './stages/one-server.ts'
import { separateDatabase } from './stages/separate-database.ts'
import { sharding } from './stages/sharding.ts'
import { statelessWebTier } from './stages/stateless-web-tier.ts'

const stages: Stage[] = [oneServer, separateDatabase, loadBalancer, statelessWebTier, sharding]

const PEOPLE = 8
const READS = 60

const SETTINGS = {
  SIGNING_KEY: 'a key for the journey, which ends with its process',
  LEASE_MS: '30000',
  GRACE_MS: '300000',
  RATE_LIMITS: 'off',
}

async function travel(stage: Stage): Promise<void> {
  console.log(`\nStage ${stage.number}: ${stage.title}\n  adds     ${stage.adds}\n  setting  ${stage.setting}\n`)
  const { shards, webs, vars } = stage.options
  const { configPath } = configFor(shards)
  const cluster = await Cluster.start({ configPath, persistTo: null, webs, vars: { ...SETTINGS, ...vars } })
  try {
    let turn = 0
    const load = new Load(cluster, () => turn++ % webs)
    for (let web = 0; web < webs; web++) await load.send('warm up', '/readyz')
    load.samples.length = 0
    const people = await settle(load, stage.number)
    console.log(indent(table(summaryHead, load.summary(), 1)))
    console.log(`\n${indent((await stage.show(cluster, load, people, expect)).join('\n'))}`)
  } finally {
    await cluster.close()
  }
}

/** Users sign up, write posts and are read. */
async function settle(load: Load, stage: number): Promise<Person[]> {
  const people: Person[] = []
  for (let index = 0; index < PEOPLE; index++) people.push(await load.signUp(`person_${stage}_${index}`))
  for (const person of people) await load.post(person, `Hello from stage ${stage}.`)
  const posts = people.flatMap((person) => person.posts)
  for (let read = 0; read < READS; read++) await load.readPost(present(posts[read % posts.length], 'a post'))
  for (const person of people) await load.readSelf(person)
  return people
}

const indent = (text: string): string => text.replace(/^/gm, '  ')

function expect(holds: boolean, what: string): void {
  if (holds) return
  console.error(`\n  FAILED: ${what}`)
  process.exitCode = 1
}

const values = readOptions({ stage: { type: 'string' } })
const chosen = stages.filter(({ number }) => !values.stage || values.stage === String(number))
if (chosen.length === 0) {
  console.error(
    `There is no stage ${values.stage} yet. Available stages: ${stages.map(({ number }) => number).join(', ')}.`,
  )
  process.exit(1)
}
for (const stage of chosen) await travel(stage)

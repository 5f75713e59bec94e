/**
 * `npm run journey [-- --stage N]`: runs the same code through the guide's implemented stages, and prints for each what
 * it adds: calls per request, p99, what fails and what does not. Exits 1 if a stage does not behave as described.
 */

import { table } from '../../src/cli/shell/table.ts'
import { present } from '../../src/core/present.ts'
import { readOptions } from '../options.ts'
import { type Load, type Person, summaryHead } from './load.ts'
import { type Stage, settle, startCluster } from './stage.ts'
import { cache } from './stages/cache.ts'
import { loadBalancer } from './stages/load-balancer.ts'
import { oneServer } from './stages/one-server.ts'
import { replicas } from './stages/replicas.ts'
import { separateDatabase } from './stages/separate-database.ts'
import { sharding } from './stages/sharding.ts'
import { statelessWebTier } from './stages/stateless-web-tier.ts'

const stages: Stage[] = [oneServer, separateDatabase, loadBalancer, replicas, cache, statelessWebTier, sharding]

const READS = 60

async function travel(stage: Stage): Promise<void> {
  console.log(`\nStage ${stage.number}: ${stage.title}\n  adds     ${stage.adds}\n  setting  ${stage.setting}\n`)
  const { cluster, load } = await startCluster(stage.options)
  try {
    const people = await settle(load, String(stage.number))
    await readEverything(load, people)
    console.log(indent(table(summaryHead, load.summary(), 1)))
    console.log(`\n${indent((await stage.show(cluster, load, people, expect)).join('\n'))}`)
  } finally {
    await cluster.close()
  }
}

async function readEverything(load: Load, people: Person[]): Promise<void> {
  const posts = people.flatMap((person) => person.posts)
  for (let read = 0; read < READS; read++) await load.readPost(present(posts[read % posts.length], 'a post'))
  for (const person of people) await load.readSelf(person)
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

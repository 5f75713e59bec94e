/**
 * `npm run model [-- --without "guard"]`: visits every state of the move protocol's model and prints their number. Then
 * removes one safeguard at a time and prints the violation. With `--without`, prints the whole trace.
 */
import { mutants, quickWorlds, slowWorlds, smallest } from '../test/model/bounds.ts'
import { explore } from '../test/model/explore.ts'
import { type Bounds, describeState, type Safeguard, safeguards } from '../test/model/protocol.ts'
import { chosenOption, readOptions } from './options.ts'

const values = readOptions({ without: { type: 'string' } })

function look(label: string, world: Partial<Bounds>, without?: Safeguard) {
  const startedAt = performance.now()
  const { states, found } = explore({ ...smallest, ...world }, new Set(without ? [without] : []))
  const seconds = ((performance.now() - startedAt) / 1_000).toFixed(1)
  const outcome = found ? `${found.violation}, in ${found.trace.length} steps` : 'every state is sound'
  console.log(
    `${label.padEnd(66)} ${states.toLocaleString('en').padStart(10)} states ${seconds.padStart(6)} s  ${outcome}`,
  )
  return found
}

if (values.without) {
  const safeguard = chosenOption('--without', values.without, safeguards)
  const found = look(`without: ${safeguard}`, mutants[safeguard], safeguard)
  if (found) console.log(`\n${found.trace.join('\n')}\n\n${describeState(found.state)}`)
} else {
  const broken = [...quickWorlds, ...slowWorlds].filter((world) => look(JSON.stringify(world), world))
  const missed = safeguards.filter((safeguard) => !look(`without: ${safeguard}`, mutants[safeguard], safeguard))
  console.log(
    `\n${broken.length} worlds with a violation; ${safeguards.length - missed.length} of ${safeguards.length} mutants caught`,
  )
  process.exitCode = broken.length + missed.length === 0 ? 0 : 1
}

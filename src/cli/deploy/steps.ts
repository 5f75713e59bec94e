import type { Screen } from '../shell/screen.ts'

/** What is missing, and the function that adds it. A dry run only prints what is missing. */
interface Finding {
  lacking: string[]
  carryOut(): Promise<void>
}

/** A step that changes something. It looks first, so a second run changes nothing. */
export interface Step {
  name: string
  /** A participle for the output: `created`. */
  done: string
  look(): Promise<Finding>
}

/** A step that changes nothing. It passes, or throws UserError. */
export interface Check {
  name: string
  /** The paths that it requests, for the dry run's output. */
  asks: string
  check(): Promise<string>
}

export interface StepOutcome {
  step: string
  result: 'done' | 'unchanged' | 'passed' | 'would be done' | 'would be asked'
  what: string[]
}

const NAME_CHARACTERS = 14
const NAMED_MAX = 4

/** Runs the steps in order, and prints each. A dry run looks in the same way, and changes nothing. */
export async function runSteps(
  steps: (Step | Check)[],
  { isDryRun, screen }: { isDryRun: boolean; screen: Screen },
): Promise<StepOutcome[]> {
  const outcomes: StepOutcome[] = []
  for (const step of steps) {
    const { outcome, said } = 'check' in step ? await runCheck(step, isDryRun) : await runStep(step, isDryRun)
    const mark = isDryRun && outcome.result !== 'unchanged' ? '·' : '✓'
    screen.write(`${mark} ${step.name.padEnd(NAME_CHARACTERS)} ${said}\n`)
    outcomes.push(outcome)
  }
  return outcomes
}

async function runStep(step: Step, isDryRun: boolean): Promise<{ outcome: StepOutcome; said: string }> {
  const { lacking, carryOut } = await step.look()
  const outcome = (result: StepOutcome['result']) => ({ step: step.name, result, what: lacking })
  if (lacking.length === 0) return { outcome: outcome('unchanged'), said: 'unchanged' }
  if (isDryRun) return { outcome: outcome('would be done'), said: `would be ${step.done}: ${shortened(lacking)}` }
  await carryOut()
  return { outcome: outcome('done'), said: `${step.done}: ${shortened(lacking)}` }
}

async function runCheck(check: Check, isDryRun: boolean): Promise<{ outcome: StepOutcome; said: string }> {
  const { name, asks } = check
  if (isDryRun)
    return { outcome: { step: name, result: 'would be asked', what: [asks] }, said: `would request: ${asks}` }
  const said = await check.check()
  return { outcome: { step: name, result: 'passed', what: [said] }, said }
}

const shortened = (names: string[]): string =>
  names.length <= NAMED_MAX
    ? names.join(', ')
    : `${names.slice(0, NAMED_MAX - 1).join(', ')} and ${names.length - NAMED_MAX + 1} more`

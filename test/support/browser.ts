/** A real browser: the Chromium in the npm package `@sparticuz/chromium`. */
import { type Browser, type BrowserContext, type BrowserContextOptions, chromium, type Page } from 'playwright-core'

export async function launchBrowser(): Promise<Browser> {
  const sparticuz = (await import('@sparticuz/chromium')).default
  // In one process, a script's fetch may send the cookies of another browser context.
  const args = sparticuz.args.filter((arg) => arg !== '--single-process')
  return chromium.launch({ executablePath: await sparticuz.executablePath(), args, headless: true })
}

export interface Person {
  context: BrowserContext
  page: Page
  /** Unexpected console output: errors, warnings, and violations of the content security policy. */
  complaints: string[]
}

/** A browser context with its own cookies. */
export async function openContext(
  browser: Browser,
  baseURL: string,
  options: BrowserContextOptions = {},
): Promise<Person> {
  const context = await browser.newContext({ baseURL, ...options })
  context.setDefaultTimeout(15_000)
  const page = await context.newPage()
  const complaints: string[] = []
  page.on('console', (message) => {
    // Chromium logs each 4xx answer to a form, which the test asked for.
    const isNote = /^Failed to load resource: the server responded with a status of 4\d\d/.test(message.text())
    if (['error', 'warning'].includes(message.type()) && !isNote) complaints.push(`${page.url()}: ${message.text()}`)
  })
  page.on('pageerror', (error) => complaints.push(`${page.url()}: ${error.message}`))
  page.on('requestfailed', (request) => {
    const reason = request.failure()?.errorText ?? ''
    if (reason !== 'net::ERR_ABORTED') complaints.push(`${request.url()}: ${reason}`)
  })
  return { context, page, complaints }
}

/** A real browser: the Chromium that `@sparticuz/chromium` carries inside its npm package. */
import { type Browser, type BrowserContext, type BrowserContextOptions, chromium, type Page } from 'playwright-core'

export async function launchBrowser(): Promise<Browser> {
  const sparticuz = (await import('@sparticuz/chromium')).default
  return chromium.launch({ executablePath: await sparticuz.executablePath(), args: sparticuz.args, headless: true })
}

export interface Person {
  context: BrowserContext
  page: Page
  /** What the console said that it shouldn't: errors, warnings, violations of the content security policy. */
  complaints: string[]
}

/** A browser of one person's own, with its own cookies. */
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
    // An answer of 4xx to a form is what the test asked for, and Chromium notes each.
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

// Every page works without this script, which only adds comfort.

import { showWhenReady, uploading, uploadWhenChosen } from './pictures.ts'

const busyMsMax = 10_000
const clockMs = 30_000

/** Ignores a second press of a submit button. Accepts presses again after `busyMsMax`, in case no page follows. */
function guardSubmits(): void {
  document.addEventListener('submit', (event) => {
    const form = event.target as HTMLFormElement
    if (form.hasAttribute('data-busy')) {
      event.preventDefault()
      return
    }
    form.setAttribute('data-busy', '')
    event.submitter?.setAttribute('aria-busy', 'true')
    setTimeout(() => release(form), busyMsMax)
  })
  // The back-forward cache restores a page with its forms still busy.
  window.addEventListener('pageshow', () => {
    for (const form of document.forms) release(form)
  })
}

function release(form: HTMLFormElement): void {
  form.removeAttribute('data-busy')
  for (const button of form.querySelectorAll('[aria-busy]')) button.removeAttribute('aria-busy')
}

const plural = new Intl.NumberFormat('en')

/** Counts as the server does: code points, with a line break as one. */
function countCharacters(area: HTMLTextAreaElement): void {
  const max = Number(area.dataset.countTo)
  const counter = document.createElement('p')
  counter.className = 'counter'
  counter.setAttribute('aria-hidden', 'true')
  const spoken = document.createElement('p')
  spoken.className = 'hidden'
  spoken.setAttribute('role', 'status')
  area.after(counter, spoken)

  let pause: ReturnType<typeof setTimeout> | undefined
  const update = (): void => {
    const left = max - [...area.value].length
    const words = left >= 0 ? `${plural.format(left)} left` : `${plural.format(-left)} too many`
    counter.textContent = words
    counter.classList.toggle('counter-over', left < 0)
    area.setCustomValidity(left < 0 ? `This has ${words}. Shorten it to ${plural.format(max)} characters.` : '')
    clearTimeout(pause)
    pause = setTimeout(() => {
      spoken.textContent = left <= 100 ? words : ''
    }, 1_000)
  }
  area.addEventListener('input', update)
  window.addEventListener('pageshow', update)
  update()
}

function growWithText(area: HTMLTextAreaElement): void {
  if (CSS.supports('field-sizing', 'content')) return
  const grow = (): void => {
    area.style.height = 'auto'
    area.style.height = `${area.scrollHeight + area.offsetHeight - area.clientHeight}px`
  }
  area.addEventListener('input', grow)
  grow()
}

const draftPauseMs = 3_000
const draftTimeoutMs = 5_000
const draftLost = 'Draft not saved. It is sent again when you type.'
const draftSignedOut = 'Draft not saved. Copy your text, then log in again.'

/**
 * Saves the text of a form with `data-draft` when typing pauses, so that it is still there after a reload, or at another
 * server. Only one request is sent at a time, and the form waits for it for up to 5 s, because a late one would bring
 * the draft back.
 */
function keepDraft(form: HTMLFormElement, area: HTMLTextAreaElement, address: string): void {
  const note = document.createElement('p')
  note.className = 'draft-note'
  note.setAttribute('role', 'status')
  form.append(note)

  let saved = area.value
  let pause: ReturnType<typeof setTimeout> | undefined
  let sending: Promise<void> | null = null
  const save = (): void => {
    clearTimeout(pause)
    if (sending || area.value === saved) return
    const text = area.value
    sending = sendDraft(address, text)
      .then((problem) => {
        // If the form was sent meanwhile, a newer text counts as saved.
        if (problem === null && saved !== area.value) saved = text
        note.textContent = problem ?? (text === '' ? '' : 'Draft saved.')
        note.classList.toggle('draft-note-bad', problem !== null)
        // It changed while it was sent.
        if (area.value !== text) pause = setTimeout(save, draftPauseMs)
      })
      .finally(() => {
        sending = null
      })
  }
  area.addEventListener('input', () => {
    clearTimeout(pause)
    pause = setTimeout(save, draftPauseMs)
  })
  document.addEventListener('visibilitychange', () => {
    if (document.hidden) save()
  })
  form.addEventListener('submit', (event) => {
    clearTimeout(pause)
    saved = area.value // the page is hidden next, and must not save what was just sent
    if (!sending) return
    event.preventDefault()
    event.stopPropagation()
    const { submitter } = event
    sending.finally(() => form.requestSubmit(submitter))
  })
}

/** Resolves to null if the draft was saved, otherwise to the reason. */
async function sendDraft(address: string, text: string): Promise<string | null> {
  try {
    const body = new URLSearchParams({ text })
    const headers = { accept: 'application/json' }
    // A page that is hidden may be closed before the answer.
    const signal = AbortSignal.timeout(draftTimeoutMs)
    const answer = await fetch(address, { method: 'POST', body, headers, signal, keepalive: document.hidden })
    if (answer.ok) return null
    if (answer.status === 401) return draftSignedOut
    const { detail } = (await answer.json()) as { detail?: string }
    return answer.status === 422 && detail ? detail : draftLost
  } catch {
    return draftLost
  }
}

const units: [unit: Intl.RelativeTimeFormatUnit, seconds: number][] = [
  ['day', 86_400],
  ['hour', 3_600],
  ['minute', 60],
]
const relative = new Intl.RelativeTimeFormat('en')
const local = new Intl.DateTimeFormat('en-GB', { dateStyle: 'medium', timeStyle: 'short' })

function sayTime(time: HTMLTimeElement): void {
  const date = new Date(time.dateTime)
  const seconds = Math.round((Date.now() - date.getTime()) / 1_000)
  time.title = local.format(date)
  time.textContent = seconds < 7 * 86_400 ? sayAgo(Math.max(0, seconds)) : local.format(date)
}

function sayAgo(seconds: number): string {
  const unit = units.find(([, length]) => seconds >= length)
  return unit ? relative.format(-Math.floor(seconds / unit[1]), unit[0]) : 'just now'
}

function keepTimes(): void {
  const times = document.querySelectorAll<HTMLTimeElement>('time[data-relative]')
  const say = (): void => {
    if (!document.hidden) times.forEach(sayTime)
  }
  say()
  setInterval(say, clockMs)
  document.addEventListener('visibilitychange', say)
}

/** A form with pictures is sent when all of them are uploaded. */
function waitForUploads(form: HTMLFormElement): void {
  form.addEventListener('submit', (event) => {
    const uploads = uploading()
    if (!uploads) return
    event.preventDefault()
    event.stopPropagation()
    const { submitter } = event
    uploads.finally(() => form.requestSubmit(submitter))
  })
}

guardSubmits()
keepTimes()
for (const form of document.forms) {
  const fields = form.querySelectorAll<HTMLFieldSetElement>('fieldset[data-upload]')
  for (const field of fields) uploadWhenChosen(field)
  if (fields.length > 0) waitForUploads(form)
}
for (const note of document.querySelectorAll<HTMLElement>('[data-media]')) {
  note.querySelector('.without-script')?.remove()
  void showWhenReady(note)
}
for (const area of document.querySelectorAll('textarea')) {
  growWithText(area)
  if (area.dataset.countTo) countCharacters(area)
  const address = area.form?.dataset.draft
  if (area.form && address) keepDraft(area.form, area, address)
}

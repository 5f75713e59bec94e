/** Uploads of pictures as soon as they are chosen, and pictures that become ready while the page is open. */

interface Variant {
  url: string
  width: number
}

interface Media {
  id: string
  state: 'processing' | 'ready' | 'refused'
  width: number
  height: number
  alt: string
  variants: Partial<Record<string, Variant>>
  error?: string
}

const previewSide = 320
const firstPauseMs = 700
const pauseMsMax = 8_000
const looksMax = 40
const uploads = new Set<Promise<void>>()

const failed = 'The upload failed. Choose the file again.'

/** Resolves when no upload is under way. Null if there is none. */
export const uploading = (): Promise<unknown> | null => (uploads.size > 0 ? Promise.allSettled(uploads) : null)

/** The fields of one picture in a form. */
export function uploadWhenChosen(field: HTMLFieldSetElement): void {
  const file = field.querySelector<HTMLInputElement>('input[type=file]')
  const id = field.querySelector<HTMLInputElement>('input[type=hidden]')
  const address = field.dataset.upload
  if (!file || !id || !address) return
  const bar = document.createElement('progress')
  const note = document.createElement('p')
  note.className = 'hint'
  note.setAttribute('role', 'status')
  const cancel = document.createElement('button')
  cancel.type = 'button'
  cancel.className = 'button button-quiet'
  const canvas = document.createElement('canvas')
  canvas.setAttribute('aria-hidden', 'true')
  file.after(canvas, bar, note, cancel)

  let request: XMLHttpRequest | null = null
  const show = (text: string, isBusy = false): void => {
    note.textContent = text
    bar.hidden = !isBusy
    cancel.hidden = !isBusy && id.value === ''
    cancel.textContent = isBusy ? 'Cancel upload' : 'Remove picture'
    canvas.hidden = cancel.hidden
  }
  const forget = (): void => {
    if (id.value) void fetch(`${address}/${id.value}`, { method: 'DELETE', keepalive: true })
    id.value = ''
  }
  cancel.addEventListener('click', () => {
    request?.abort()
    forget()
    show('')
    file.focus()
  })
  file.addEventListener('change', () => {
    const [chosen] = file.files ?? []
    request?.abort()
    forget()
    show('')
    if (!chosen) return
    file.value = '' // or the form would send it again
    void preview(canvas, chosen)
    request = new XMLHttpRequest()
    const upload = send(request, address, chosen, (sent) => {
      bar.value = sent
    })
      .then((stored) => {
        id.value = stored.id
        show(`${chosen.name} is uploaded.`)
      })
      .catch((error: unknown) => show(error instanceof Error ? error.message : failed))
      .finally(() => uploads.delete(upload))
    uploads.add(upload)
    show(`Uploading ${chosen.name}…`, true)
  })
  show(id.value ? 'This picture is uploaded.' : '')
}

/** Sends the file, with its progress from 0 to 1. Rejects with a text for the user; with an empty one if aborted. */
function send(
  request: XMLHttpRequest,
  address: string,
  file: File,
  onProgress: (sent: number) => void,
): Promise<Media> {
  return new Promise((resolve, reject) => {
    request.upload.addEventListener('progress', ({ loaded, total }) => onProgress(total > 0 ? loaded / total : 0))
    request.addEventListener('abort', () => reject(new Error('')))
    request.addEventListener('error', () => reject(new Error(failed)))
    request.addEventListener('load', () => {
      const answer = request.response as { media?: Media; detail?: string } | null
      if (request.status === 202 && answer?.media) resolve(answer.media)
      else reject(new Error(answer?.detail ?? failed))
    })
    request.open('POST', address)
    request.responseType = 'json'
    request.setRequestHeader('accept', 'application/json')
    request.send(file)
  })
}

/** Drawn, because the page's policy allows no pictures from elsewhere. A browser that cannot decode it shows none. */
async function preview(canvas: HTMLCanvasElement, file: File): Promise<void> {
  canvas.width = 0
  const bitmap = await createImageBitmap(file).catch(() => null)
  if (!bitmap) return
  const scale = Math.min(1, previewSide / Math.max(bitmap.width, bitmap.height))
  canvas.width = Math.max(1, bitmap.width * scale)
  canvas.height = Math.max(1, bitmap.height * scale)
  canvas.getContext('2d')?.drawImage(bitmap, 0, 0, canvas.width, canvas.height)
  bitmap.close()
}

/** Replaces the note by the picture when it is ready. Asks less and less often. */
export async function showWhenReady(note: HTMLElement): Promise<void> {
  let pauseMs = firstPauseMs
  for (let looks = 0; looks < looksMax; looks++) {
    await new Promise((resolve) => setTimeout(resolve, pauseMs))
    pauseMs = Math.min(pauseMsMax, pauseMs * 1.5)
    if (document.hidden) continue
    const found = await find(note.dataset.media ?? '')
    if (found?.state === 'refused') note.textContent = found.error ?? ''
    if (found?.state === 'ready') note.replaceWith(pictureOf(found, note.dataset.sizes ?? ''))
    if (found && found.state !== 'processing') return
  }
}

async function find(address: string): Promise<Media | null> {
  try {
    const answer = await fetch(address, { headers: { accept: 'application/json' } })
    return answer.ok ? ((await answer.json()) as { media: Media }).media : null
  } catch {
    return null // the next look may succeed
  }
}

/** As the server renders it. */
function pictureOf({ variants, width, height, alt }: Media, sizes: string): HTMLElement {
  const shown = ['small', 'medium', 'large'].flatMap((name) => variants[name] ?? [])
  const link = document.createElement('a')
  link.className = 'picture'
  link.href = shown.at(-1)?.url ?? ''
  const picture = new Image(width, height)
  picture.alt = alt
  picture.sizes = sizes
  picture.srcset = shown.map((variant) => `${variant.url} ${variant.width}w`).join(', ')
  picture.src = shown[0]?.url ?? ''
  link.append(picture)
  return link
}

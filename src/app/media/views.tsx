import { limits } from '../../core/limits.ts'
import type { FieldErrors } from '../../web/fields.tsx'
import { postVariants } from './keys.ts'
import { CELLS, placeholderColours } from './placeholder.ts'
import type { Media } from './shapes.ts'

/** The script uploads to this address, and asks below it. */
const UPLOAD = '/api/v1/media'

/** Colours in place of a picture that is not loaded yet. The policy of the pages allows neither styles nor data URLs. */
const Placeholder = ({ thumbhash }: { thumbhash: string }) => (
  <svg class="picture-placeholder" viewBox={`0 0 ${CELLS} ${CELLS}`} preserveAspectRatio="none" aria-hidden="true">
    {placeholderColours(thumbhash).map((colour, cell) => (
      <rect x={cell % CELLS} y={Math.floor(cell / CELLS)} width="1" height="1" fill={colour} />
    ))}
  </svg>
)

const Ready = ({ media, sizes }: { media: Media; sizes: string }) => {
  const { variants, width, height, alt, thumbhash } = media
  const shown = postVariants.flatMap((name) => variants[name] ?? [])
  const largest = shown.at(-1)
  return (
    <a class="picture" href={largest?.url}>
      {thumbhash ? <Placeholder thumbhash={thumbhash} /> : null}
      <img
        src={shown[0]?.url}
        srcset={shown.map((variant) => `${variant.url} ${variant.width}w`).join(', ')}
        sizes={sizes}
        width={width}
        height={height}
        alt={alt}
        loading="lazy"
        decoding="async"
      />
    </a>
  )
}

/** The script asks for the picture until it is ready, and shows it here. */
const Processing = ({ media: { id }, sizes }: { media: Media; sizes: string }) => (
  <p class="picture-note" role="status" data-media={`${UPLOAD}/${id}`} data-sizes={sizes}>
    The picture is being processed.<span class="without-script"> Reload the page.</span>
  </p>
)

const Picture = ({ media, sizes }: { media: Media; sizes: string }) => {
  if (media.state === 'ready') return <Ready media={media} sizes={sizes} />
  if (media.state === 'processing') return <Processing media={media} sizes={sizes} />
  return <p class="picture-note">{media.error}</p>
}

const WHOLE = '(min-width: 52rem) 40rem, 92vw'
const HALF = '(min-width: 52rem) 20rem, 46vw'

/** The pictures of a post. @public For nouns. */
export const Pictures = ({ media }: { media: readonly Media[] }) =>
  media.length === 0 ? null : (
    <ul class={media.length === 1 ? 'pictures' : 'pictures pictures-many'}>
      {media.map((one) => (
        <li>
          <Picture media={one} sizes={media.length === 1 ? WHOLE : HALF} />
        </li>
      ))}
    </ul>
  )

/** What a form has of one picture. `id`: it is stored already. @public For nouns. */
export interface ChosenPicture {
  id: string
  alt: string
}

export const PICTURE_TYPES = 'image/jpeg,image/png,image/webp,image/avif,image/gif'

type PictureFieldProps = { number: number; chosen: ChosenPicture; error: string | undefined }

const PictureField = ({ number, chosen: { id, alt }, error }: PictureFieldProps) => (
  <fieldset class="picture-field" data-upload={UPLOAD}>
    <legend>Picture {number}</legend>
    {id ? <p class="hint">This picture is uploaded.</p> : null}
    <label for={`picture${number}`}>File</label>
    <input
      id={`picture${number}`}
      name={`picture${number}`}
      type="file"
      accept={PICTURE_TYPES}
      aria-invalid={error ? 'true' : undefined}
      aria-describedby={error ? `picture${number}-error` : undefined}
    />
    {error ? (
      <p class="field-error" id={`picture${number}-error`}>
        {error}
      </p>
    ) : null}
    <input type="hidden" name={`media${number}`} value={id} />
    <label for={`alt${number}`}>What does it show? For people who do not see it.</label>
    <input
      id={`alt${number}`}
      name={`alt${number}`}
      type="text"
      value={alt}
      maxlength={1500}
      dir="auto"
      autocomplete="off"
    />
  </fieldset>
)

/** The numbers in the names of the fields: `picture1`, `media1` and `alt1`. @public For nouns. */
export const pictureNumbers = Array.from({ length: limits.picturesPerPostMax }, (_, index) => index + 1)

type PictureFieldsProps = { chosen: readonly ChosenPicture[]; errors: FieldErrors }

/** The fields of a form for up to four pictures. The script uploads each file as soon as it is chosen. @public For nouns. */
export const PictureFields = ({ chosen, errors }: PictureFieldsProps) => {
  const isOpen = chosen.some(({ id, alt }) => id || alt) || pictureNumbers.some((number) => errors[`picture${number}`])
  return (
    <details class="picture-fields" open={isOpen || undefined}>
      <summary class="button button-quiet">Add pictures</summary>
      <p class="hint">JPEG, PNG, WebP, AVIF or GIF, each up to 10 MB.</p>
      {pictureNumbers.map((number) => (
        <PictureField
          number={number}
          chosen={chosen[number - 1] ?? { id: '', alt: '' }}
          error={errors[`picture${number}`]}
        />
      ))}
    </details>
  )
}

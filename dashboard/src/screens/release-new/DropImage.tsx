import { Dropzone } from "@mantine/dropzone";
import { IconFileUpload } from "@tabler/icons-react";
import "@mantine/dropzone/styles.css";

/** A place for one image, to drop it on or to choose it. */
export function DropImage({ onFile }: { onFile: (file: File) => void }) {
  return (
    <Dropzone
      multiple={false}
      onDrop={([file]) => file && onFile(file)}
      inputProps={{ "aria-label": "Image file" }}
      className="drop-image"
    >
      <div className="drop-words">
        <IconFileUpload size={34} stroke={1.5} aria-hidden />
        <p>
          <b>Drop an image here</b>, or click to choose one
        </p>
        <p className="faint">
          A raw file system such as ext4 or squashfs. A large one may be interrupted: it goes on where it
          stopped.
        </p>
      </div>
    </Dropzone>
  );
}

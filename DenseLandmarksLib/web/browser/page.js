// Keys press the buttons of the page, as in the panel in 3D Slicer, but not while somebody types; files are sent from here.
(function () {
  const KEYS = {
    a: "accept", x: "absent", u: "unsure", Backspace: "reset", n: "next", p: "place",
    "Ctrl+z": "undo", "Ctrl+y": "redo", "Ctrl+Shift+z": "redo", "Ctrl+Enter": "save",
  };

  function isTyping() {
    const focus = document.activeElement;
    if (!focus) return false;
    if (focus.tagName === "TEXTAREA" || focus.isContentEditable) return true;
    return focus.tagName === "INPUT" && !["checkbox", "radio", "range", "button", "file"].includes(focus.type) && !focus.readOnly;
  }

  document.addEventListener("keydown", (event) => {
    if (event.key === "Escape") return window.trame && window.trame.trigger("give_up");
    const view = document.querySelector(".view:hover");
    if (event.key === "Delete" && view && !event.repeat && !isTyping()) {
      return window.trame.trigger("delete_point", [view.id.replace("view-", "")]); // Slicer's own key
    }
    const name = event.key.length === 1 ? event.key.toLowerCase() : event.key;
    const held = (event.ctrlKey || event.metaKey ? "Ctrl+" : "") + (event.shiftKey ? "Shift+" : "") + (event.altKey ? "Alt+" : "");
    const id = KEYS[held + name];
    if (!id || (isTyping() && id !== "save")) return;
    event.preventDefault();
    const isRepeatable = id === "undo" || id === "redo";
    const button = document.getElementById(id);
    if (button && (!event.repeat || isRepeatable)) {
      if (isTyping()) document.activeElement.blur();
      button.click(); // nothing happens where it is greyed out
    }
  }, true);

  // A button that was clicked keeps no focus: Backspace or Enter would press it again.
  document.addEventListener("click", (event) => {
    const button = event.target.closest && event.target.closest("button");
    if (button) button.blur();
    if (button && button.id === "cancel-adding") {
      isCancelled = true;
      if (underWay) underWay.abort();
    }
  });

  let underWay = null, isCancelled = false;
  function post(files, onPart) {
    return new Promise((done) => {
      const request = underWay = new XMLHttpRequest();
      request.upload.onprogress = (event) => onPart(event.loaded / Math.max(1, event.total));
      request.onloadend = () => done(request);
      if (files.length > 1) {
        const form = new FormData();
        for (const file of files) form.append("file", file);
        request.open("POST", "upload");
        return request.send(form);
      }
      request.open("POST", `upload?name=${encodeURIComponent(files[0].name)}`);
      request.setRequestHeader("Content-Type", "application/octet-stream");
      request.send(files[0]);
    });
  }

  // CT, MR and PET: what DICOM stores a slice to a file (PS3.4, B.5).
  const SLICES = /1\.2\.840\.10008\.5\.1\.4\.1\.1\.(2|4|128)[^.\d]/;

  // The series that a file is a slice of, "" for all others: the server reads what it is, this only says what belongs together.
  async function seriesOf(file) {
    const bytes = await file.slice(0, 1 << 16).arrayBuffer().catch(() => new ArrayBuffer(0)); // told when it is sent
    const head = new TextDecoder("latin1").decode(bytes).split("(\0\x10\0")[0]; // up to (0028,0010), behind the UIDs
    if (head.slice(128, 132) !== "DICM" || !SLICES.test(head.slice(132, 1024))) return "";
    // (0020,000E), its length, its value; the last is the image's own, those of related series come before.
    const uid = [...head.matchAll(/ \0\x0e\0(?:UI[^]{2}|[^]{4})(\d[.\d]*)/g)].pop();
    return uid ? uid[1] : "";
  }

  // One image each: a file, or all slices of a series.
  async function imagesIn(files) {
    const images = new Map();
    for (const [number, file] of files.entries()) {
      if (isCancelled) break;
      const key = (await seriesOf(file)) || number;
      images.set(key, [...(images.get(key) || []), file]);
    }
    return [...images.values()];
  }

  async function send(files) {
    const cases = [], notes = [], state = window.trame.state;
    isCancelled = false;
    state.set("adding", { done: 0, total: files.length, percent: 0 });
    const images = await imagesIn(files);
    for (const [done, image] of images.entries()) {
      if (isCancelled) break;
      const show = (part) => state.set("adding", { done, total: images.length, percent: (100 * (done + part)) / images.length });
      show(0);
      const request = await post(image, show);
      if (isCancelled) break;
      if (request.status !== 201) {
        const why = request.responseText.trim() || "expected the server to take the file, got no answer. Try again.";
        const name = image[0].name, isNamed = [name, name.replace(/\.[^.]*$/, "")].some((own) => why.startsWith(`${own}:`));
        notes.push(isNamed ? why : `${name}: ${why}`);
      } else if (JSON.parse(request.responseText).case) cases.push(JSON.parse(request.responseText).case);
    }
    state.set("adding", null);
    if (cases.length || notes.length || isCancelled) window.trame.trigger("added", [cases, notes]);
  }

  document.addEventListener("change", (event) => {
    if (event.target.id !== "upload" || !event.target.files.length) return;
    send([...event.target.files]);
    event.target.value = ""; // the same file may be sent again
  });

  // All of the work is in the server: when the connection comes back the page does.
  function say(line) {
    let cover = document.getElementById("lost");
    if (!cover) {
      cover = document.createElement("div");
      cover.id = "lost";
      document.body.append(cover);
    }
    cover.textContent = line;
  }

  let isComingBack = false;
  async function comeBack() {
    if (isComingBack) return;
    isComingBack = true;
    await wait(300); // a page that is left has no time for more
    say("The connection was lost. Nothing of the work is: this page comes back as soon as the server answers.");
    for (;;) {
      try {
        const answer = await fetch("./", { cache: "no-store" });
        if (answer.ok) return window.location.reload();
        if (answer.status === 403) return say("The server was started anew. Open the link that it printed.");
      } catch (error) {} // it does not answer yet
      await wait(1000);
    }
  }

  const wait = (ms) => new Promise((done) => setTimeout(done, ms));

  (async () => {
    while (!window.trame) await wait(50);
    window.trame.addConnectListener(() => {
      window.trame.client.onConnectionClose(comeBack);
      window.trame.client.onConnectionError(comeBack);
    });
  })();
})();
